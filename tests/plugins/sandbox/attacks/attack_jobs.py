"""Jobs of the attacks: the check of a run with the language switched off, for tests alone."""

import sys


def check_without_net(payload, scratch, subject):
    """Check a block whose language nobody looked at; look for marks where verdicts are found."""
    import torch

    from genesys_engine.plugins.auditor import run
    from genesys_engine.plugins.auditor.candidate import Candidate

    run.check_source = lambda *_: []
    report = run.check_block(**payload, candidate=Candidate(subject))
    modules = [m for name, m in sys.modules.items() if name.startswith(("torch", "genesys"))]
    held = [*modules, *vars(torch).values(), *vars(torch.nn).values()]
    marked = [str(each) for each in held if type(getattr(each, "MARK", None)) is int]
    return {**report.to_json(), "marked": marked}
