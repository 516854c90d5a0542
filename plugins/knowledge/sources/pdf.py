"""PDF files, read by pypdf."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document, clean, printable
from genesys_engine.plugins.knowledge.sources.hyphens import rejoin

_LIGATURE = re.compile("[\ufb00-\ufb06]")
LEAST = 20  # characters: less is a page number, not a text


def read(path: Path) -> Iterator[Document]:
    """Yield the text of a PDF as one document.

    Raises:
        InputError: it is damaged, encrypted, or holds no text.
    """
    import pypdf
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells every oddity of a file
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError("is encrypted", where=str(path), hint="save it without a password")
        pages = [_readable(page.extract_text()) for page in reader.pages]
        title = _title(reader, path)
    except InputError:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        # A damaged file shows in many ways, all of them the file's fault.
        raise InputError(
            f"is not a readable PDF ({type(error).__name__}: {error})", where=str(path)
        ) from error
    except RecursionError as error:
        raise InputError("is not a readable PDF (endless nesting)", where=str(path)) from error
    text = rejoin("\n\n".join(page.strip() for page in pages if page.strip()))
    if len(text) < LEAST:
        raise InputError(
            f"holds no text (pages: {len(pages)}): it is most likely scanned",
            where=str(path),
            hint="run text recognition on it first, for example ocrmypdf",
        )
    yield Document(f"file:{path.resolve()}", title, text, "folder", url=path.resolve().as_uri())


def _readable(text: str) -> str:
    """Return text without unprintable characters, with ligatures as letters."""
    return printable(_LIGATURE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text))


def _title(reader: Any, path: Path) -> str:
    """Return the title that the file states, else its name."""
    stated = reader.metadata.title if reader.metadata else None
    if isinstance(stated, str) and stated.strip():
        return clean(stated).strip()
    return path.stem.replace("_", " ")
