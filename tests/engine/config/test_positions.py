"""The locator: every key and value that tomli reads has its place, and the right one."""

from typing import Any

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from genesys_engine.engine.config.positions import Path, Positions, locate, parse_key

ODD = '''\
# a comment with [brackets] and "quotes = 1"
top = 1
dotted . "quo.ted" . 'li\\teral' = "a # no comment"

[run]   # a header
seed=7
name = """
[not.a.table]
x = 1 \\" """""
raw = \'\'\'it's # raw\'\'\'
when = 1979-05-27 07:32:00 # with a space inside
[[ladder.rungs]]
scale = "0.2M"
inline = { a = 1, "b c" = [1, { d = "}" }, "]"], e.f = 2 }
many = [
  1, # one
  [2, 3],
  # nothing here
  "four",
]
[ladder.rungs.extra]
deep = true
[[ladder.rungs]]
scale = "1M"
[[ladder.rungs.parts]]
p = 1
[[ladder.rungs.parts]]
p = 2
[ladder]
release = "gradual"'''


def spans(text: str) -> tuple[Any, Positions]:
    return tomli.loads(text), locate(text)


def leaves(data: Any, path: Path = ()) -> dict[Path, Any]:
    """Every value below data that no header can make: scalars, and arrays."""
    if isinstance(data, dict):
        items: Any = data.items()
    elif isinstance(data, list):
        items = enumerate(data)
    else:
        return {path: data}
    found: dict[Path, Any] = {}
    for key, value in items:
        found |= leaves(value, (*path, key))
    return found


def assert_all_found(text: str) -> None:
    data, positions = spans(text)
    for path, value in leaves(data).items():
        start, end = positions.values[path]
        assert tomli.loads(f"v = {text[start:end]}")["v"] == value, path
        named = path if isinstance(path[-1], str) else path[:-1]
        while not isinstance(named[-1], str):
            named = named[:-1]
        start, end = positions.keys[named]
        assert parse_key(text[start:end]) == (named[-1],), path


def test_every_value_of_an_odd_document_is_found() -> None:
    assert_all_found(ODD)


def test_places_are_lines_and_columns_from_one() -> None:
    _, positions = spans(ODD)

    def key(*path: str | int) -> tuple[int, int, int]:
        place = positions.key(path)
        assert place is not None
        return place.line, place.column, place.width

    def value(*path: str | int) -> tuple[int, int, int]:
        place = positions.value(path)
        assert place is not None
        return place.line, place.column, place.width

    assert key("top") == (2, 1, 3)
    assert key("dotted", "quo.ted") == (3, 10, 9)
    assert key("run") == (5, 2, 3)
    assert value("run", "seed") == (6, 6, 1)
    assert value("run", "name") == (7, 8, 3)  # over several lines: marked on the first
    assert value("run", "when") == (11, 8, 19)
    assert key("ladder", "rungs", 0) == (12, 10, 5)
    assert value("ladder", "rungs", 0, "inline", "b c", 1, "d") == (14, 37, 3)
    assert value("ladder", "rungs", 0, "many", 1, 0) == (17, 4, 1)
    assert key("ladder", "rungs", 0, "extra", "deep") == (22, 1, 4)
    assert key("ladder", "rungs", 1) == (23, 10, 5)
    assert value("ladder", "rungs", 1, "parts", 1, "p") == (28, 5, 1)
    assert key("ladder") == (29, 2, 6)  # the header that defines it, not one through it


def test_what_is_not_written_is_placed_at_the_nearest_table() -> None:
    _, positions = spans(ODD)
    table = positions.key(("run", "missing"))
    item = positions.value(("ladder", "rungs", 1, "tokens"))
    assert table is not None
    assert item is not None
    assert (table.line, item.line) == (5, 23)
    assert positions.key(("nothing", "at", "all")) is None
    assert locate("").value(("run",)) is None


def test_parse_key() -> None:
    assert parse_key("run.workers") == ("run", "workers")
    assert parse_key('a . "b.c"') == ("a", "b.c")
    for wrong in ("", "a.", ".a", "a b", "a=", '"open', "a[0]"):
        assert parse_key(wrong) is None


SCALARS = st.one_of(
    st.integers(-(2**40), 2**40).map(str),
    st.booleans().map(lambda b: str(b).lower()),
    st.sampled_from(["1e3", "inf", "0x_f".replace("_", ""), "1979-05-27", '""', "''", '"""a"""']),
    st.text(st.sampled_from("ab #[]{}=,.'\\\""), max_size=6).map(
        lambda s: '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
    st.text(st.sampled_from('ab #[]{}=,."\\'), max_size=6).map(lambda s: f"'{s}'"),
    st.text(st.sampled_from("ab\n#[]='\"x"), max_size=6).map(
        lambda s: '"""\n' + s.replace('"', '\\"') + '"""'
    ),
)
KEYS = st.sampled_from(["a", "b-1", "_", '"q.#"', "'l]'", "7"])


def inside(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(KEYS, children), max_size=3, unique_by=lambda pair: pair[0])
    return st.one_of(
        st.lists(children, max_size=3).map(lambda items: f"[ {', '.join(items)} ]"),
        st.lists(children, min_size=1, max_size=3).map(
            lambda items: "[\n" + ", # x]\n".join(items) + ",\n]"
        ),
        pairs.map(lambda found: "{" + ", ".join(f"{k} = {v}" for k, v in found) + "}"),
    )


VALUES = st.recursive(SCALARS, inside, max_leaves=6)
TABLES = st.lists(
    st.tuples(
        st.sampled_from(["[[t]]", "[[ t . u ]]", "[t.v]", "[w]", '["q.#".x]', "[[z]]"]),
        st.lists(st.tuples(KEYS, VALUES), max_size=3, unique_by=lambda pair: pair[0]),
    ),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(TABLES)
def test_every_value_of_any_document_is_found(tables: list[tuple[str, Any]]) -> None:
    text = "".join(
        f"\t{header} # h\n" + "".join(f"{key}\t= {value}\n" for key, value in pairs)
        for header, pairs in tables
    )
    try:
        tomli.loads(text)
    except tomli.TOMLDecodeError:
        return  # a header came twice: the locator is only asked about documents that tomli read
    assert_all_found(text)
