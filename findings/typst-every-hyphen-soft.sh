#!/usr/bin/env bash
# Typst 0.15 (package 0.15.2) writes one code for all hyphens of a PDF: the one that comes first.
#
# In the text of a PDF, U+00AD is taken for a hyphen of the typesetter's and "-" for one of the
# word's own.  A document of Typst has the same glyph for both, and the PDF's table of characters
# has one entry for a glyph: where a divided word comes first, "self-attention" in the middle of a
# line reads as "self\u00adattention", and removing soft hyphens joins it to "selfattention"; where
# "self-attention" comes first, the divided words read as if they had hyphens of their own.
#
# Seen with pypdf 7.1.0 and with pdfminer.six 20260107: U+00AD alone in the first document, "-"
# alone in the second, which holds the same two sentences in the other order.
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q typst==0.15.2 pypdf==7.1.0 pdfminer.six==20260107
"$work/venv/bin/python" - <<'PY'
import io

import pypdf
import typst
from pdfminer.high_level import extract_text

SOFT = "\u00ad"
DIVIDED = "Incomprehensible characteristics of differentiable architectures notwithstanding."
OWN = "Our self-attention is new."
PAGE = '#set page(width: 60mm, height: auto)\n#set par(justify: true)\n#set text(hyphenate: true)\n'

for sentences, hyphen, other in ((f"{DIVIDED} {OWN}", SOFT, "-"), (f"{OWN} {DIVIDED}", "-", SOFT)):
    pdf = typst.compile((PAGE + sentences).encode())
    for name, text in (
        ("pypdf", pypdf.PdfReader(io.BytesIO(pdf)).pages[0].extract_text()),
        ("pdfminer", extract_text(io.BytesIO(pdf))),
    ):
        print(name, ascii(text))
        assert f"self{hyphen}attention" in text and other not in text
        assert f"{hyphen}\n" in text, "no word was divided"
PY
echo "still so: one code for all hyphens of a document"
