"""Prompts: every template tells its fields, and a user's own is checked before it is used."""

import re
from pathlib import Path

import pytest

from genesys_engine.gab.errors import InputError
from genesys_engine.operators.llm import templates
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.templates import FIELDS, Templates
from genesys_engine.operators.llm.unitwise import UnitByUnit

FOLDER = Path(templates.__file__).parent / "prompts"


@pytest.mark.parametrize("name", FIELDS)
def test_the_header_says_who_reads_it_and_which_fields_it_gets(name):
    text = (FOLDER / f"{name}.j2").read_text(encoding="utf-8")
    header = re.match(r"\{# Read by (.*?)#\}", text, re.DOTALL)
    assert header, "a template begins with a comment that says who reads it"
    assert all(re.search(rf"\b{field}\b", header[1]) for field in FIELDS[name])


def test_there_is_a_template_for_every_name_and_no_other():
    assert {path.stem for path in FOLDER.glob("*.j2")} == set(FIELDS)


def test_a_template_of_ones_own_takes_the_place(tmp_path):
    (tmp_path / "mend.j2").write_text("Again, since {{ fault }}.")
    by_folder = Templates(ImplementerOptions(prompts=str(tmp_path)))
    by_name = Templates(ImplementerOptions(templates={"mend": str(tmp_path / "mend.j2")}))
    for made in (by_folder, by_name):
        assert made.render("mend", {"fault": "it is cut"}) == "Again, since it is cut.\n"
        assert "expert in PyTorch" in made.render("system", {"role": "coder"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ sourc }}", "names sourc, which it does not get"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_a_faulty_template_is_reported_at_the_start(tmp_path, text, said):
    (tmp_path / "coder.j2").write_text(text)
    options = ImplementerOptions(prompts=str(tmp_path))
    with pytest.raises(InputError, match=said) as caught:
        UnitByUnit(options)
    assert "coder.j2" in str(caught.value.where)


@pytest.mark.parametrize(
    "statement",
    [
        "{% include 'system.j2' %}",
        "{% include fault ignore missing %}",
        "{% extends 'system.j2' %}",
        "{% import 'system.j2' as system %}",
        "{% from 'system.j2' import role %}",
        "{% if fault %}{% include ['a', 'b'] %}{% endif %}",
    ],
)
def test_a_template_that_needs_another_one_is_reported_at_the_start(tmp_path, statement):
    path = tmp_path / "mend.j2"
    path.write_text(f"It failed:\n{statement}\n")
    with pytest.raises(InputError, match="cannot include, extend or import") as caught:
        Templates(ImplementerOptions(prompts=str(tmp_path)))
    assert caught.value.where == f"{path}:2"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompts": "/nowhere/at/all"}, "no such folder"),
        ({"templates": {"coder": "/nowhere/coder.j2"}}, "cannot read the template 'coder'"),
        ({"templates": {"code": "x.j2"}}, "no prompt 'code'"),
    ],
)
def test_a_missing_file_is_reported_at_the_start(options, said):
    with pytest.raises(InputError, match=said):
        Templates(ImplementerOptions(**options))


def test_a_misspelt_template_in_a_folder_is_reported(tmp_path):
    (tmp_path / "codr.j2").write_text("x")
    with pytest.raises(InputError, match="no prompt 'codr'"):
        Templates(ImplementerOptions(prompts=str(tmp_path)))
