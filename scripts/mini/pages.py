"""Render pages of a folder of PDFs in grey, with every character's box: what the reading stage learns from.

    python scripts/mini/pages.py PDFS OUT --pages 7000 --seed 0

`PDFS` holds one folder a source (a Debian package, our own generated pages). OUT gets ``pages.bin`` (grey
pixels, one page after another), ``chars.bin`` (one CHAR record a character) and ``index.json`` (the classes,
and where each page's pixels and characters lie). Whole sources are set aside for validation, so that no
document is on both sides.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf

CLASSES = " " + string.ascii_lowercase + string.digits + string.punctuation + "�"
"""Class 0 is "no ink here"; the last is every character that is none of the others."""

OTHER = len(CLASSES) - 1
CLASS_OF = {char: place for place, char in enumerate(CLASSES)}

CHAR = np.dtype([("kind", "u1"), ("start", "u1"), ("box", "f4", (4,))])
"""Class, whether a word starts here, and ``(x0, y0, x1, y1)`` in pixels."""

LONG_SIDE = (850, 1250)  # pixels; 1024 is what the model will see
FEWEST_CHARS = 60
MOST_PAGES_A_FILE = 10
UNREADABLE = (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pdfs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pages", type=int, default=7000)
    parser.add_argument("--validation", nargs="*", default=[], help="names of sources set aside")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    files = sorted(options.pdfs.rglob("*.pdf"))
    rng.shuffle(files)
    options.out.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, object]] = []
    with (options.out / "pages.bin").open("wb") as pixels, (options.out / "chars.bin").open("wb") as chars:
        at = [0, 0]
        for name in files:
            source = name.relative_to(options.pdfs).parts[0]
            for number, image, found in sampled(name, rng):
                index.append(
                    {
                        "source": source,
                        "file": str(name.relative_to(options.pdfs)),
                        "page": number,
                        "shape": list(image.shape),
                        "pixels": at[0],
                        "chars": [at[1], at[1] + len(found)],
                        "validation": source in options.validation,
                    }
                )
                pixels.write(image.tobytes())
                chars.write(found.tobytes())
                at = [at[0] + image.size, at[1] + len(found)]
            if len(index) >= options.pages:
                break
    (options.out / "index.json").write_text(json.dumps({"classes": CLASSES, "pages": index}))
    kept = sum(not page["validation"] for page in index)
    print(f"{len(index)} pages of {len({p['file'] for p in index})} files, {kept} for training")


def sampled(name: Path, rng: random.Random) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """A few pages of a file that have readable text: ``(number, grey image, characters)``."""
    try:
        document = pymupdf.open(name)
    except UNREADABLE:
        return
    with document:
        if document.needs_pass:
            return
        numbers = list(range(len(document)))
        rng.shuffle(numbers)
        for number in numbers[:MOST_PAGES_A_FILE]:
            try:
                made = drawn(document[number], rng)
            except UNREADABLE:
                continue
            if made is not None:
                yield (number, *made)


def drawn(page: pymupdf.Page, rng: random.Random) -> tuple[np.ndarray, np.ndarray] | None:
    """A page's grey pixels ``(height, width)`` and its characters; None where its text cannot be trusted."""
    sides = max(page.rect.width, page.rect.height), min(page.rect.width, page.rect.height)
    if sides[1] < 100 or sides[0] / sides[1] > 3:
        return None
    if page.rotation:
        return None  # PyMuPDF draws the page turned, but gives the boxes of the page as it lies
    scale = rng.uniform(*LONG_SIDE) / sides[0]
    found = characters(page, scale)
    if found is None:
        return None
    pixmap = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), colorspace=pymupdf.csGRAY, alpha=False)
    image = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.stride)[:, : pixmap.width]
    return image, found


def characters(page: pymupdf.Page, scale: float) -> np.ndarray | None:
    """A page's characters as CHAR records, boxes times `scale`.

    None for a page with skewed lines, with fewer than FEWEST_CHARS, or where over a fifth have no class.
    """
    found: list[tuple[int, bool, tuple[float, ...]]] = []
    strange = 0
    for line in lines(page):
        if abs(line["dir"][0]) < 0.999 and abs(line["dir"][1]) < 0.999:
            return None  # skewed text: its boxes are not boxes
        word = True
        for span in line["spans"]:
            for char in span["chars"]:
                if char["c"].isspace():
                    word = True
                    continue
                kinds = classes_of(char["c"])
                strange += kinds == [OTHER]
                x0, y0, x1, y1 = body(char, span["size"], scale)
                step = (x1 - x0) / len(kinds)
                for place, kind in enumerate(kinds):
                    found.append((kind, word, (x0 + place * step, y0, x0 + (place + 1) * step, y1)))
                    word = False
    if len(found) < FEWEST_CHARS or strange > 0.2 * len(found):
        return None
    return np.array(found, CHAR)


def lines(page: pymupdf.Page) -> Iterator[dict[str, Any]]:
    """Lines of a page's text layer with each character's box, as PyMuPDF's "rawdict" has them."""
    for block in page.get_text("rawdict", flags=pymupdf.TEXT_PRESERVE_WHITESPACE)["blocks"]:
        yield from block.get("lines", ())


def body(char: dict[str, Any], size: float, scale: float) -> tuple[float, float, float, float]:
    """The box around a letter's body: that of the font, which PyMuPDF gives, is taller than the letter."""
    x0, y0, x1, y1 = (scale * value for value in char["bbox"])
    height = min(y1 - y0, scale * size * 1.2)
    base = scale * char["origin"][1]
    return x0, max(y0, base - 0.80 * height), x1, min(y1, base + 0.15 * height)


def classes_of(char: str) -> list[int]:
    """Classes of a character, at least one: accents and case are folded, ligatures taken apart."""
    folded = [c for c in unicodedata.normalize("NFKD", char.lower()) if not unicodedata.combining(c)]
    return [CLASS_OF.get(c, OTHER) for c in folded if c != " "] or [OTHER]


if __name__ == "__main__":
    main()
