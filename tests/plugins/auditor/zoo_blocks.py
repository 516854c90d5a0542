"""The files of the zoo, for the tests that take one bad block of each code, or all of them."""

from pathlib import Path

_ZOO = Path(__file__).parents[2] / "zoo"
BAD = sorted((_ZOO / "bad").glob("*.py"))
GOOD = sorted((_ZOO / "good").glob("*.py"))


def code_of(path: Path) -> str:
    """Return the code that a bad block is named after."""
    return ".".join(path.name.split(".")[:2])


BY_CODE = {code_of(path): path for path in BAD}  # the last of each code
del BY_CODE["cost.quadratic_loop"]  # ten seconds
