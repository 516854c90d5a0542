"""Does the run's memory tell a proposal that says the same from one that doesn't?

    python experiments/bench/near_duplicates.py [--embedding minilm]

14 proposals, each also in other words (near_duplicates.json); every other pair of proposals is
of different ideas.  Printed: cosines of both kinds, and at several thresholds how many
rewordings are found and how many different ideas are taken for the same.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from genesys_engine.engine.propose.attempts import SAME
from genesys_engine.plugins.knowledge.embeddings import open_embedding

PAIRS = Path(__file__).with_suffix(".json")


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--embedding", default="hashed")
    embedding = open_embedding(parser.parse_args().embedding)
    pairs = json.loads(PAIRS.read_text(encoding="utf-8"))["same"]
    first, second = (embedding.embed([pair[i] for pair in pairs]) for i in (0, 1))
    cosines = first @ second.T
    same = sorted(float(cosines[i, i]) for i in range(len(pairs)))
    other = sorted(float(v) for i, row in enumerate(cosines) for j, v in enumerate(row) if i != j)
    print(f"embedding {embedding.name}; the memory's threshold is {SAME}")
    print(
        f"same idea:  {len(same):4} pairs, lowest {same[0]:.3f}, median {same[len(same) // 2]:.3f}"
    )
    print(f"other idea: {len(other):4} pairs, highest {other[-1]:.3f}")
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        found = sum(value >= threshold for value in same)
        wrong = sum(value >= threshold for value in other)
        print(f"  >= {threshold}: {found:2} of {len(same)} found, {wrong} of {len(other)} wrong")


if __name__ == "__main__":
    main()
