"""Draw a small index, as the package of the day writes it, to be opened by every later one.

    python scripts/make_old_index.py [FOLDER]

FOLDER (``tests/index/data/before-layout``) gets an index of one drawn PDF of three pages, with its bytes,
and two records of `add_texts`. ``tests/index/test_old_index.py`` opens copies of it. It was made at commit
68887bc, the last before the package was laid out in twelve rooms, and is not made again: a format that
changes gets a new folder. Chroma's directory is left out, since opening for writing makes it from SQLite.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pymupdf

from mmrag import DocumentQA

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "tests" / "index" / "data" / "before-layout"

PAGES = (
    "Lighthouse keeper's handbook\n\nThe lamp is lit at sunset and put out at sunrise.",
    "Supplies\n\nThe boat with oil comes on the first Tuesday of every month.\nThe tank holds 900 litres.",
    "Fog\n\nIn fog the horn sounds twice a minute.\nThe log notes the hour at which fog came and went.",
)
TEXTS = {
    "note-cat": "The keeper's cat is called Fresnel and sleeps in the lamp room.",
    "note-stairs": "The tower has 217 steps from the door to the gallery.",
}


def handbook() -> bytes:
    """A PDF with one page for each text."""
    with pymupdf.open() as document:
        for text in PAGES:
            page = document.new_page(width=420, height=300)
            for row, line in enumerate(text.split("\n")):
                page.insert_text((40, 60 + 20 * row), line, fontsize=11)
        return document.tobytes(garbage=4, deflate=True)


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if folder.exists():
        print(f"{folder} is there already; an old index is not made again. Name another folder.")
        return 1
    with DocumentQA.open(folder) as qa:
        qa.add([("handbook.pdf", handbook())], metadata={"shelf": "tower"})
        qa.add_texts(list(TEXTS.values()), ids=list(TEXTS), metadata=[{"shelf": "notes"}] * len(TEXTS))
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "index.sqlite":
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
