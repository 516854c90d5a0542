"""Children do not depend on hash seeds, and nothing heavy is imported to make them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import commands

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, random, sys
from genesys_engine.operators import grammar
from genesys_engine.plugins.api import OperatorNotApplicable
from tests.operators.variation_support import OPERATORS, SEEDS, apply
from genesys_engine.gab import library
made = []
for draw in range(6):
    tree, other = (library.seed(s) for s in random.Random(draw).sample(SEEDS, 2))
    for name, operator in OPERATORS.items():
        try:
            child = apply(operator, [tree, other][: operator.arity[0]], draw)
        except OperatorNotApplicable:
            made.append(name)
            continue
        made.append([child.tree.digest, child.change, str(child.details)])
        tree = child.tree
made += [grammar.write_source(i, random.Random(7)) for i in grammar.PRODUCTIONS]
heavy = [m for m in ("torch", "lm_eval", "datasets", "transformers") if m in sys.modules]
print(json.dumps({"made": made, "heavy": heavy}))
"""


def run(hash_seed: str) -> dict[str, list[object]]:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT]
    done = commands.run(command, env=env, cwd=ROOT, check=True)
    answer: dict[str, list[object]] = json.loads(done.stdout)
    return answer


def test_children_are_the_same_under_every_hash_seed() -> None:
    first, *others = (run(seed) for seed in ("0", "1", "4242"))
    assert len(first["made"]) > 40
    assert all(other["made"] == first["made"] for other in others)
    assert first["heavy"] == []
