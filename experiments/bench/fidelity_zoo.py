"""The zoo of `rung_fidelity.py`: designs that differ as those of a run do, good ones and bad ones.

    python experiments/bench/fidelity_zoo.py        # adds to experiments/bench/fidelity_zoo/*.json

The five seeds, units of the library in their place, hybrids, what the operators of a run make of
them with fixed seeds (their units come from the library and the grammar), and designs that are
meant to be bad.  The trees lie in the repository: what was recorded of them stays theirs when the
library or the grammar changes, and each file can be a seed of an experiment.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from genesys_engine.gab import library
from genesys_engine.gab.errors import GenesysError, InputError
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import parse_unit
from genesys_engine.plugins.api import OperatorContext, Parent
from genesys_engine.plugins.host import PluginHost

FOLDER = Path(__file__).with_suffix("")
REMEDY = "take the file from the repository again, or write the zoo with fidelity_zoo.py"
ALONE = '''
from torch import nn


class Alone(nn.Module):
    """A dense map of each position by itself in a mixer's place: nothing is mixed.

    X (B, T, d_model) -> (B, T, d_model).
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {}

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()
        self.map = nn.Linear(d_model, d_model, bias=False, device=device, dtype=dtype)

    def forward(self, X, **Z):
        return self.map(X), Z
'''
OPERATED: dict[str, tuple[str, tuple[str, ...], int]] = {
    "crossed_gpt_mamba2": ("typed_crossover", ("gpt", "mamba2"), 1),
    "crossed_mamba2_rwkv6": ("typed_crossover", ("mamba2", "rwkv6"), 2),
    "crossed_retnet_ttt": ("typed_crossover", ("retnet", "ttt"), 3),
    "inserted_gpt": ("insertion", ("gpt",), 4),
    "new_unit_gpt": ("new_unit", ("gpt",), 5),
    "new_unit_rwkv6": ("new_unit", ("rwkv6",), 7),
    "replaced_retnet": ("unit_replacement", ("retnet",), 8),
    "regrown_gpt": ("subtree_mutation", ("gpt",), 9),
    "afresh_12": ("seed_design", (), 12),
}
"""Name -> operator, the seeds that it is given, and the seed of its generator."""


def read_zoo(folder: Path = FOLDER) -> dict[str, GABTree]:
    """Return the designs by name, in the order of their names.

    Raises:
        InputError: a file is no design, or there are none.
    """
    found: dict[str, GABTree] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = GABTree.from_json(json.loads(path.read_text(encoding="utf-8")))
            found[path.stem].validate()
        except (ValueError, RecursionError, OSError) as error:
            raise InputError(f"not JSON: {error}", where=str(path), hint=REMEDY) from None
        except GenesysError as error:
            where = f"{path}: {error.where}" if error.where else str(path)
            raise InputError(error.message, where=where, hint=error.hint or REMEDY) from None
    if not found:
        raise InputError("there are no designs", where=str(folder), hint=REMEDY)
    return found


def designs() -> Iterator[tuple[str, GABTree]]:
    """Yield every design of the zoo with its name."""
    seeds = {name: library.seed(name) for name in library.seed_names()}
    yield from seeds.items()
    yield from _variants(seeds)
    yield from _bad(seeds)
    registry = PluginHost().registry
    for name, (operator, parents, number) in OPERATED.items():
        given = [Parent(at, seeds[parent], None, "") for at, parent in enumerate(parents)]
        make = registry.get("operator", operator).create({})
        yield name, make(given, OperatorContext(rng=random.Random(number))).tree


def _leaf(name: str) -> GABTree:
    return grow(library.unit(name))


def _with(tree: GABTree, path: str, new: GABTree) -> GABTree:
    """Return the tree with another subtree at a path such as "root.mixer"."""
    index = next(place.index for place in tree.places() if place.path == path)
    return tree.replace(index, new)


def _variants(seeds: Mapping[str, GABTree]) -> Iterator[tuple[str, GABTree]]:
    gpt, norm = seeds["gpt"], _leaf("rms_norm")
    convolution = _leaf("short_convolution")
    delta = {"convolution": convolution, "head_norm": norm}
    mixers = {
        "gated_delta_net": grow(library.unit("gated_delta_net"), delta),
        "multi_dconv_attention": grow(
            library.unit("multi_dconv_attention"),
            {"convolution": convolution, "position": _leaf("rotary")},
        ),
        "min_gru": _leaf("min_gru"),
        "hyena": grow(library.unit("hyena"), {"convolution": convolution}),
        "forgetting_attention": _leaf("forgetting_attention"),
        "s4d": _leaf("s4d"),
    }
    for name, mixer in mixers.items():
        yield f"gpt_{name}", _with(gpt, "root.mixer", mixer)
    parts = {slot: gpt.subtree(at) for slot, at in gpt.children(0).items()}
    looks = {"local_1": convolution, "local_2": convolution}
    yield "gpt_canon_block", grow(library.unit("canon_block"), parts | looks)
    both = {"mixer_1": parts["mixer"], "norm_1": norm, "norm_2": norm}
    mamba = seeds["mamba2"].subtree(seeds["mamba2"].children(0)["mixer"])
    heads = grow(library.unit("hybrid_heads"), both | {"mixer_2": mamba})
    yield "hybrid_heads", _with(gpt, "root.mixer", heads)


def _bad(seeds: Mapping[str, GABTree]) -> Iterator[tuple[str, GABTree]]:
    gpt, unmoved = seeds["gpt"], _leaf("no_position")
    yield "bad_alone", _with(gpt, "root.mixer", grow(parse_unit(ALONE)))
    yield "bad_no_position", _with(gpt, "root.mixer.position", unmoved)
    linear = grow(library.unit("linear_attention"), {"position": unmoved})
    parts = {"mixer": linear, "norm_1": _leaf("dynamic_tanh"), "norm_2": _leaf("dynamic_tanh")}
    mlp = gpt.subtree(gpt.children(0)["mlp"])
    yield "bad_linear_post_norm", grow(library.unit("deepnorm_block"), parts | {"mlp": mlp})
    pool = grow(library.unit("mamba2_mixer"), {
        "convolution": _leaf("causal_max_pool"),
        "recurrence": _leaf("scalar_decay_recurrence"),
        "gated_norm": _leaf("scale_norm"),
    })  # fmt: skip
    yield "bad_mamba2_max_pool", _with(seeds["mamba2"], "root.mixer", pool)


def main() -> None:
    """Write the designs that are not there yet: what was recorded is of those that are."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    FOLDER.mkdir(exist_ok=True)
    for name, tree in designs():
        tree.validate()
        file = FOLDER / f"{name}.json"
        if not file.exists():
            file.write_text(json.dumps(tree.to_json(), indent=1) + "\n", encoding="utf-8")
            print(name, tree)


if __name__ == "__main__":
    main()
