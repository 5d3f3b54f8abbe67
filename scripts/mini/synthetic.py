"""Make PDF pages of our own in many fonts: prose, tables, forms, slides, invoices, charts with labels.

    python scripts/mini/synthetic.py OUT --fonts FOLDER --words FILE --files 1500 --seed 0

Debian's documentation is mostly one typeface family; these pages bring other letters, sizes, colours,
light text on dark ground, numbers in columns, labels in figures. Words are drawn evenly from a list, so that
rare letters are seen too; their order means nothing. The same seed, fonts and words make the same pages.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import pymupdf

Colour = tuple[float, float, float]

DARK: list[Colour] = [(0, 0, 0), (0.1, 0.1, 0.25), (0.3, 0.3, 0.3), (0.5, 0.1, 0.1), (0.05, 0.3, 0.15)]
LIGHT: list[Colour] = [
    (1, 1, 1),
    (1, 1, 1),
    (1, 1, 1),
    (0.95, 0.95, 0.98),
    (0.98, 0.96, 0.9),
    (0.88, 0.92, 0.97),
]
SIZES = [(612, 792), (595, 842), (595, 842), (842, 595), (720, 540), (960, 540)]


class Sheet:
    """One page being filled from the top."""

    def __init__(self, page: pymupdf.Page, rng: random.Random, fonts: list[Path], words: list[str]) -> None:
        self.page, self.rng, self.words = page, rng, words
        files = rng.sample(fonts, k=2)
        self.names = [f"F{place}" for place in range(2)]
        for name, file in zip(self.names, files, strict=True):
            page.insert_font(fontname=name, fontfile=str(file))
        self.fonts = [pymupdf.Font(fontfile=str(file)) for file in files]
        inverse = rng.random() < 0.12
        self.ground = rng.choice(DARK) if inverse else rng.choice(LIGHT)
        self.ink = rng.choice(LIGHT) if inverse else rng.choice(DARK)
        page.draw_rect(page.rect, color=None, fill=self.ground)
        self.body = rng.uniform(6.5, 13) if page.rect.width < 700 else rng.uniform(12, 26)
        self.y = rng.uniform(20, 60)

    def text(
        self, x: float, y: float, words: str, size: float, font: int = 0, ink: Colour | None = None
    ) -> float:
        """Write one line at its base line, unless that is below the page; its width."""
        if y < self.page.rect.height - 8:
            name, color = self.names[font], ink or self.ink
            self.page.insert_text((x, y), words, fontname=name, fontsize=size, color=color)
        return self.fonts[font].text_length(words, fontsize=size)

    def some(self, count: int) -> list[str]:
        """Words of the list, some of them dressed."""
        chosen = self.rng.choices(self.words, k=count)
        return [self.styled(word) for word in chosen]

    def styled(self, word: str) -> str:
        """A word as documents have it: with a capital, a mark, a hyphen, or a number in its place."""
        draw = self.rng.random()
        if draw < 0.10:
            return self.number()
        if draw < 0.20:
            return word.capitalize()
        if draw < 0.24:
            return word.upper()
        if draw < 0.32:
            return word + self.rng.choice([",", ".", ";", ":", "?", "!", ")", "%"])
        if draw < 0.34:
            return self.rng.choice(["(", '"', "#", "@", "/", "$"]) + word
        if draw < 0.36:
            return word + "-" + self.rng.choice(self.words)
        return word

    def number(self) -> str:
        """A number as tables have it: a count, a year, a share, an amount."""
        rng = self.rng
        value = rng.choice(
            [rng.randint(0, 99), rng.randint(1900, 2030), rng.uniform(0, 1), rng.uniform(0, 1e6)]
        )
        text = f"{value:,}" if isinstance(value, int) and rng.random() < 0.3 else str(value)
        if isinstance(value, float):
            text = f"{value:,.{rng.randint(0, 3)}f}"
        return rng.choice(["", "", "", "$", "-", "€", "~"]) + text + rng.choice(["", "", "", "%", "M", " kg"])

    def heading(self) -> None:
        """A line of one to six words in the second font."""
        size = self.body * self.rng.uniform(1.2, 2.6)
        self.y += size * 1.3
        self.text(self.rng.uniform(25, 70), self.y, " ".join(self.some(self.rng.randint(1, 6))), size, 1)
        self.y += size * 0.5

    def prose(self, columns: int = 1) -> None:
        """Lines of words in columns of the same length."""
        margin, gap = self.rng.uniform(25, 60), 14
        width = (self.page.rect.width - 2 * margin - gap * (columns - 1)) / columns
        lead = self.body * self.rng.uniform(1.12, 1.6)
        top, lines, font = self.y, self.rng.randint(3, 16), self.rng.randint(0, 1)
        for column in range(columns):
            self.y = top
            for _ in range(lines):
                self.y += lead
                x = margin + column * (width + gap)
                line: list[str] = []
                for word in self.some(30):
                    if self.fonts[font].text_length(" ".join([*line, word]), fontsize=self.body) > width:
                        break
                    line.append(word)
                if line:
                    self.text(x, self.y, " ".join(line), self.body, font)
        self.y += lead

    def table(self) -> None:
        """Words in the first row and column, numbers elsewhere; with or without rules and bands."""
        rng, rows, columns = self.rng, self.rng.randint(3, 10), self.rng.randint(2, 6)
        left, right = rng.uniform(25, 70), self.page.rect.width - rng.uniform(25, 70)
        step, height = (right - left) / columns, self.body * rng.uniform(1.3, 2.2)
        ruled, banded = rng.random() < 0.6, rng.random() < 0.3
        self.y += height
        for row in range(rows):
            top = self.y + row * height
            if banded and row % 2:
                self.page.draw_rect((left, top, right, top + height), color=None, fill=(0.85, 0.87, 0.9))
            if ruled:
                self.page.draw_line((left, top), (right, top), color=self.ink, width=0.5)
            for column in range(columns):
                words = " ".join(self.some(rng.randint(1, 2))) if row == 0 or column == 0 else self.number()
                ink = DARK[0] if banded and row % 2 else None
                x, y = left + column * step + 2, top + height * 0.75
                self.text(x, y, words[:18], self.body * 0.9, row == 0, ink)
        self.y += (rows + 1) * height

    def form(self) -> None:
        """Labels with a line to write on, filled in."""
        for _ in range(self.rng.randint(3, 8)):
            self.y += self.body * 2
            label = " ".join(self.some(self.rng.randint(1, 3))) + ":"
            x = 40 + self.text(40, self.y, label, self.body, 1) + 6
            self.page.draw_line((x, self.y + 2), (x + 150, self.y + 2), color=self.ink, width=0.4)
            self.text(x + 3, self.y, " ".join(self.some(2)), self.body * 0.95)
        self.y += self.body

    def chart(self) -> None:
        """Bars with values above, names below and ticks at the left."""
        rng, left, height = self.rng, self.rng.uniform(50, 90), self.rng.uniform(90, 200)
        right, base = self.page.rect.width - 60, self.y + height + 10
        self.page.draw_line((left, base), (right, base), color=self.ink)
        self.page.draw_line((left, base), (left, base - height), color=self.ink)
        bars = rng.randint(3, 9)
        for bar in range(bars):
            x = left + (bar + 0.3) * (right - left) / bars
            tall = rng.uniform(0.1, 0.95) * height
            fill = rng.choice(DARK[1:] + LIGHT[3:])
            self.page.draw_rect((x, base - tall, x + 14, base), color=None, fill=fill)
            self.text(x, base + self.body, rng.choice(self.words)[:8], self.body * 0.8)
            self.text(x, base - tall - 2, self.number(), self.body * 0.75)
        for tick in range(4):
            self.text(left - 30, base - tick * height / 4, self.number()[:6], self.body * 0.75)
        self.y = base + self.body * 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fonts", type=Path, required=True, help="folder of .ttf and .otf files")
    parser.add_argument("--words", type=Path, required=True, help="file of words")
    parser.add_argument("--files", type=int, default=1500, help="PDFs of two pages to make")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    fonts = [f for f in sorted(options.fonts.rglob("*")) if f.suffix in {".ttf", ".otf"} and latin(f)]
    words = [w for w in options.words.read_text(encoding="utf-8").split() if w.isascii() and "'" not in w]
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(options.files):
        with made(rng, fonts, words) as document:
            document.save(options.out / f"{number:05d}.pdf", garbage=4, deflate=True)
    print(f"{options.files} files in {len(fonts)} fonts")


def made(rng: random.Random, fonts: list[Path], words: list[str]) -> pymupdf.Document:
    """A PDF of two filled pages, each in two of the fonts (at least two must be given)."""
    document = pymupdf.open()
    for _ in range(2):
        width, height = rng.choice(SIZES)
        fill(Sheet(document.new_page(width=width, height=height), rng, fonts, words))
    document.subset_fonts()
    return document


def fill(sheet: Sheet) -> None:
    """Put one part below the other until the page is full."""
    while sheet.y < sheet.page.rect.height - 60:
        part = sheet.rng.random()
        if part < 0.2:
            sheet.heading()
        elif part < 0.6:
            sheet.prose(sheet.rng.choice([1, 1, 2, 3]))
        elif part < 0.8:
            sheet.table()
        elif part < 0.9:
            sheet.form()
        else:
            sheet.chart()


def latin(file: Path) -> bool:
    """Whether a font has all ASCII letters, digits and marks."""
    try:
        font = pymupdf.Font(fontfile=str(file))
    except (RuntimeError, pymupdf.mupdf.FzErrorBase):
        return False
    return all(font.has_glyph(code) for code in range(33, 127))


if __name__ == "__main__":
    main()
