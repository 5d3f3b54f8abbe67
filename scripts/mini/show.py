"""Draw what the reader of mmrag-mini reads of a page beside the page.

    python scripts/mini/show.py mmrag/samples/pack/documents/maintenance-log-scan.pdf --page 1 --to read.png

Words are dark where the network is sure of their letters (mean probability above .8), red where it is not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pymupdf
from PIL import Image, ImageDraw, ImageFont

from mmrag.embedders.mini.reader import LetterReader

SURE = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--page", type=int, default=1)
    parser.add_argument("--model", type=Path, help="folder; the shipped one by default")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    reader = LetterReader(options.model)
    with pymupdf.open(options.file) as document:
        page = document[options.page - 1]
        scale = reader.long_side / max(page.rect.width, page.rect.height)
        drawn = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), alpha=False)
    picture = Image.frombytes("RGB", (drawn.width, drawn.height), drawn.samples)
    both = Image.new("RGB", (2 * picture.width, picture.height), "white")
    both.paste(picture, (0, 0))
    pen, font = ImageDraw.Draw(both), ImageFont.load_default(12)
    for word in reader.read(picture):
        ink = (20, 20, 110) if word.confidence > SURE else (200, 60, 30)
        pen.text((picture.width + word.box[0], word.box[1] - 2), word.text, font=font, fill=ink)
    both.quantize(64).save(options.to, optimize=True)


if __name__ == "__main__":
    main()
