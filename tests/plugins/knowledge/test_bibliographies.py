"""BibTeX in the forms that exporters write it; the entries are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources import bibtex
from genesys_engine.plugins.knowledge.sources.tex import plain, verbatim

EXPORTS = Path(__file__).parent / "bibliographies"


def read(path: Path) -> dict[str, Document]:
    found = list(bibtex.read(path))
    assert all(isinstance(one, Document) for one in found), [str(one) for one in found]
    return {one.id.rpartition("#")[2]: one for one in found if isinstance(one, Document)}


def written(tmp_path: Path, text: str) -> dict[str, Document]:
    (tmp_path / "a.bib").write_text(text, encoding="utf-8")
    return read(tmp_path / "a.bib")


def test_zotero() -> None:
    found = read(EXPORTS / "zotero.bib")
    paper = found["quillon_striped_2024"]
    assert paper.title == "Striped GLUs: Gates that Cost 3% & Save ~40%"
    assert paper.authors == ("Maud Quillon", "José d’Ester", "Institute for Gates and Locks")
    assert (paper.year, paper.arxiv) == (2024, "2411.01234")
    assert paper.url == "http://arxiv.org/abs/2411.01234"
    abstract, second, keywords = paper.text.split("\n\n")[:3]
    assert abstract == (
        r"We train at 1.3B parameters, 2-8$\times$ faster, where p < 0.05 and up to 99.9% of"
        " the_time. State {S} stays."
    )
    assert second == "A second paragraph: R^2 & more."
    assert keywords == "Computer Science - Computation and Language, Gates & locks"
    assert "/home/" not in paper.text
    note = found["noauthor_notes_nodate"]
    assert note.title == "Notes on Łukasiewicz and Müller"
    assert note.url == "https://example.org/a_b/~maud/?q=1&r=2%203#top"
    assert (note.authors, note.year) == ((), None)


def test_jabref() -> None:
    found = read(EXPORTS / "jabref.bib")
    paper = found["Ferro2019"]
    assert paper.title == "Memory that decays: 50% less of it"
    assert paper.authors == ("Ada Ferro", "Jan van der Veen", "Martin L. King Jr.")
    assert paper.text == (
        "Costs fall by 50% & accuracy by ~1%. We use C# and x_1.\n\ndecay; memory\n\n"
        "Journal of Memory & Learning (Online)"
    )
    assert paper.url == (
        "https://doi.org/10.1002/(SICI)1097-0258(19980815)17:15%3C1661::AID-SIM968%3E3.0.CO;2-2"
    )
    part = found["Part2020"]
    assert (part.year, part.text) == (2020, "Proceedings of the Meeting on Wholes")
    assert (part.authors, part.url) == (("Ada Ferro",), "")  # not that of the whole
    assert found["Whole2020"].url == "https://doi.org/10.1000/whole"


def test_dblp() -> None:
    found = read(EXPORTS / "dblp.bib")
    paper = found["DBLP:conf/xyz/ArandaBC21"]
    assert paper.title == "Scaling RNNs & Why It Works (Extended Abstract)"
    assert paper.authors == ("Iván Aranda", "Łukasz Bąk", "Zoë Černý")
    assert paper.url == "https://proceedings.example.cc/paper/2021/hash/ab_cd-Abstract.html"
    assert paper.text.startswith("Advances in Invented Systems 34: Annual Conference 2021, Dec")
    mixer = found["DBLP:journals/corr/abs-2105-00001"]
    assert mixer.title == r"An \(O(n \log n)\) Mixer"
    assert mixer.arxiv == "2105.00001"
    crossed = found["DBLP:conf/xyz/Crossed21"]
    assert (crossed.year, crossed.text, crossed.url) == (2021, "XYZ 2021", "")


def test_acl_anthology() -> None:
    (paper,) = read(EXPORTS / "acl_anthology.bib").values()
    assert paper.title == "“Attention” at 10% of the cost – a study of WordNet"
    assert paper.authors == ("Nadia Ostrova", "Bjørn Müller-Groß", "Seán O'Hara")
    assert paper.text.startswith(
        r"We ask “why”: 80% of heads attend to <s>, at $5 & up, with $k \ll n$ keys."
    )
    assert paper.url == "https://aclanthology.example.org/2022.acl-long.1/"


def test_google_scholar() -> None:
    found = read(EXPORTS / "google_scholar.bib")
    assert found["duval2017notes"].authors == ("René Duval", "Liv Sorensen")
    assert found["duval2017notes"].arxiv == "1709.01234"
    assert found["duval2018more"].title == "More notes & fewer keys"


def test_arxiv() -> None:
    found = read(EXPORTS / "arxiv.bib")
    paper = found["tanaka2025linear"]
    assert paper.title == r"Linear in $n$, not $n^2$: states of rank $\leq 8$ at ~10% of the memory"
    assert (paper.arxiv, paper.authors) == ("2502.04321", ("Yui Tanaka", "Omar Haddad"))
    assert found["old1999"].arxiv == "cs/9901001"


def test_mendeley_ieee_and_biblatex(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        r"""
@article{mendeley,
abstract = {We get 5{\%} of {\textless}b{\textgreater} \& 10{\^{}}3 {\~{}}40.},
author = {Garc{\'{i}}a, L{\'{o}}pez and {van Gogh}, V.},
doi = {10.1000/xyz{\_}1},
title = {{Learning {\%} things}},
url = {http://arxiv.org/abs/2001.00001 https://www.x.org/a{\_}b.pdf},
}
@INPROCEEDINGS{9156789, author={Smith, J. and }, title={On Things}, volume={}, doi={doi:10.1/x}}
@online{lab, author = {family=Berg, given=Jan, prefix=van der and Roe, R.}, title = {X},
  date = {2021-03-04}, eprint = {2101.00001}, eprinttype = {arxiv}, journaltitle = {J. of X}}
""",
    )
    paper = found["mendeley"]
    assert paper.text == "We get 5% of <b> & 10^3 ~40."
    assert paper.title == "Learning % things"
    assert (paper.url, paper.arxiv) == ("http://arxiv.org/abs/2001.00001", "2001.00001")
    assert paper.authors == ("L\u00f3pez Garc\u00eda", "V. van Gogh")
    assert found["9156789"].authors == ("J. Smith",)
    assert found["9156789"].url == "https://doi.org/10.1/x"
    assert found["lab"].authors == ("Jan van der Berg", "R. Roe")
    assert (found["lab"].year, found["lab"].text) == (2021, "J. of X")


def test_strings_are_put_together(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        """
@string{ venue = "Proceedings of an Invented Meeting" }
@STRING{Full = venue # { on } # topic}
@string{topic = "Decays"} @string{loop = loop # "!"}
@inproceedings{a, title = {A} # " paper", booktitle = venue # " 36", year = 2023}
@inproceedings{b, title = "On {"}decay{"}", booktitle = FULL#{, }#"vol. "#7, year = {2020} }
@inproceedings{c, title = {M}, booktitle = "1~" # jan # ", " # dec, year = "20" # 24}
@article{d, title = {N}, journal = unknown_macro, note = loop}
""",
    )
    assert found["a"].title == "A paper"
    assert found["a"].text == "Proceedings of an Invented Meeting 36"
    assert found["b"].title == 'On "decay"'
    assert found["b"].text == "Proceedings of an Invented Meeting on Decays, vol. 7"
    assert (found["c"].text, found["c"].year) == ("1 January, December", 2024)
    assert found["d"].text == "loop!\n\nunknown_macro"


def test_what_is_inherited_and_what_is_not(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        """
@inbook{child, chapter = 3, crossref = {BOOK}}
@inproceedings{own, title = {Own}, year = 1999, crossref = {book}, xdata = {shared}}
@inproceedings{lost, title = {Lost}, crossref = {nowhere}}
@book{round, title = {Round}, crossref = {round}}
@book{one, crossref = {two}, title={One}} @book{two, crossref = {one}, title={Two}}
@book{book, title = {The Book}, author = {Writer, W.}, year = 2001, url = {https://a.b},
  abstract = {Of the book alone.}, eprint = {2105.00001}, note = {Of the book.}}
@xdata{shared, abstract = {Shared text.}, keywords = {a, b}}
""",
    )
    child = found["child"]
    assert (child.title, child.year, child.authors) == ("The Book", 2001, ("W. Writer",))
    assert (child.text, child.url, child.arxiv) == ("The Book", "", "")
    own = found["own"]
    assert (own.title, own.year) == ("Own", 1999)
    assert own.text == "Shared text.\n\na, b\n\nThe Book"
    assert found["lost"].title == "Lost"
    assert "shared" not in found


def test_no_field_and_no_entry_is_lost_by_a_slip(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        """
@article{twice, title = {First}, url = {https://a.b/1}, url = {https://a.b/2}}
@article{comma, title = {Title}
  abstract = {Not lost.}
  year = 2000 }
@article(paren, title = {In parentheses}, year = 2001)
@article{empty, title = {Empty}, year = , abstract = {}}
@ARTICLE{case, TITLE = {Case}, Abstract = "Loud."}
""",
    )
    assert found["twice"].url == "https://a.b/1"
    assert (found["comma"].title, found["comma"].text) == ("Title", "Not lost.")
    assert found["comma"].year == 2000
    assert found["paren"].year == 2001
    assert found["empty"].year is None
    assert found["case"].text == "Loud."


def test_what_cannot_be_read_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.bib"
    path.write_text(
        "@article{a, title = {A}}\n\n@article{b, year = 2000}\n@article{c, title = {C\n"
    )
    found = list(bibtex.read(path))
    errors = [one for one in found if isinstance(one, InputError)]
    assert [error.where for error in errors] == [f"{path}:4", f"{path}:3"]


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        ("up to 40% of all", "up to 40% of all"),
        (r"up to 40\% of all 50% of", "up to 40% of all 50% of"),
        ("A & B \\& C # D", "A & B & C # D"),
        ("~40 ms in Fig.~3 by J.~M. Name ~ x", "~40 ms in Fig. 3 by J. M. Name ~ x"),
        (r"Stra{\ss}e, Gro\ss e, \v{C}ern\'y, {\O}re, \AA{}s", "Straße, Große, Černý, Øre, Ås"),
        (r"of \alpha and \softmax of \foo{bar}", r"of α and \softmax of \foo bar"),
        (r"\emph{a} {\em b} \textbf{c}", "a b c"),
        (
            r"\href{https://a.b/c%20d}{the page} at \url{https://a.b/~c}",
            "the page at https://a.b/~c",
        ),
        ("unbalanced { and } and }", "unbalanced and and"),
        ("costs $5 or $6", "costs $5 or $6"),
        (r"{\LaTeX} \& {\TeX}", "LaTeX & TeX"),
        ("two\n  lines", "two lines"),
    ],
)
def test_tex_becomes_text_and_no_word_is_lost(tex: str, text: str) -> None:
    assert plain(tex) == text


@pytest.mark.parametrize(
    ("written", "data"),
    [
        ("https://e.org/~jane/p_o.pdf?x=1&y=2%203#a", "https://e.org/~jane/p_o.pdf?x=1&y=2%203#a"),
        (r"http://a.b/c\_d\%20{\&}x", "http://a.b/c_d%20&x"),
        (r"\url{http://a.b/~c}", "http://a.b/~c"),
        (r"http://a.b/{\textasciitilde}c/\~{}d", "http://a.b/~c/~d"),
        ("{http://a.b/{c}}", "http://a.b/{c}"),
        ("http://a.b/a/\n    long/one", "http://a.b/a/long/one"),
    ],
)
def test_data_stay_data(written: str, data: str) -> None:
    assert verbatim(written) == data
