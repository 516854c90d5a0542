"""The source of a corpus's text, as its options name it."""

from __future__ import annotations

from genesys_engine.engine.common.cache import cache_folder
from genesys_engine.engine.corpus.english import english_files
from genesys_engine.engine.corpus.files import Files, Source, open_files, standard_library
from genesys_engine.engine.corpus.mixture import open_mixture
from genesys_engine.engine.corpus.options import CorpusOptions


def open_source(options: CorpusOptions) -> Source:
    """Find the files that `options` name.

    Raises:
        InputError: a path does not exist or holds no text file.
        EnvironmentProblem: the corpus `english` has not been fetched, or was changed.
    """
    if options.use == "python-stdlib":
        return standard_library()
    if options.use == "mixture":
        return open_mixture(options)
    if options.use == "english":
        files = english_files(cache_folder())
        names = tuple(f"{path.parent.name}/{path.name}" for path in files)
        return Files("State of the Union, Brown corpus, Moby Dick", tuple(files), names)
    return open_files(options.paths, options.text_field)
