"""The reference library: one Markdown card on a published architecture or trick per file.

A card begins with YAML between two lines of `---`: `key` (the file's name), `title` of the paper,
`authors` (the first ones, then "et al."), `year`, `arxiv` (its id as a string; may be missing),
`unit` (a unit of `gab/library/units/` that does what the card describes; may be missing),
`interface` that such a unit offers, and `tags`.  Then follow five sections, 60 to 180 words in all:
Idea, Equations (indented plain text), Cost, Good for, Pitfalls.  T is the length of the sequence,
d the width of the model.
"""
