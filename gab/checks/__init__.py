"""What reading a block finds, before anything of it runs: findings and the language of a block.

`report` is the catalogue of findings, `guard` and what it uses are the rules of the language,
`runnable` is the part of a source that is executed at all.  `compose` needs the latter, so it
belongs to the genome; the probes that execute a block are in `plugins/auditor/`.
"""
