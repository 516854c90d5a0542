"""The genome: designs, how they become models, and the sizes of those models.

A language model embeds tokens, applies the same kind of block N times, and predicts the next
token.  What evolves is the block.  A block is a tree of *units*, all of one type of map,
(X, Z) -> (X, Z): X is the stream (batch, time, width), Z a dict of named intermediate values.

Read in this order:

- `interfaces`: the kinds of slot, each with its contract in a sentence;
- `unit`: a unit's source file as frozen data; `contract` and `filerules` hold the rules that it
  must keep; `zvalues`, `scopes` and `syntax` read a source without running it;
- `tree`: `GABTree`, units wired slot by slot, a DEAP tree with a digest and a JSON form;
- `compose`: a tree as one readable Python module, and that module as a class; `merge` writes
  every definition once;
- `model`: the language model around the block (imports torch);
- `scales`: sizes from 0.2M to 1300M, and how a block is brought to one;
- `library`: units written from the papers, and the seed designs;
- `checks`: the language of a block, and the catalogue of findings;
- `raised`: an exception of a candidate as data;
- `errors`: what can go wrong, and the exit code of each.

May import no other folder.  To run what it composes is a matter of `plugins/sandbox`, to judge
it of `plugins/auditor`.
"""
