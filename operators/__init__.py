"""Variation: how a design becomes another one.

An operator takes 0, 1, 2 or more parents and returns a child: a tree and one sentence that says
what was changed, which the lineage keeps.  The operators here need no language model:

- `hyperparameter_mutation` sets hyper-parameters to other legal values;
- `unit_replacement` puts another unit of the library over the same children;
- `new_unit` puts a unit there that the grammar writes on the spot, as Python source;
- `subtree_mutation` grows a new subtree in place of an old one;
- `insertion` wraps a subtree in a unit with a slot for it, `removal` takes such a unit away;
- `typed_crossover` takes a subtree of another parent, matched by interface;
- `layering` has layers differ by their depth, or makes them alike;
- `seed_design` starts afresh, without parents.

`grammar` is the probabilistic grammar that writes units, `growth` fills slots from the library and
the grammar, `variation` holds what all operators share.

Every operator is built from its options and is deterministic: all it draws comes from the
context's generator, so equal parents and an equal generator give an equal child.  A child
composes, differs from each parent by digest, and keeps the limits on depth and size; where that
cannot be had in a bounded number of tries, the operator raises `OperatorNotApplicable`, and the
engine draws another one.
"""
