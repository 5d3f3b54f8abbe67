"""Reading compared: our reader with either renderer, and other readers of PDF.

    pip install --target SITE pdfplumber      # brings pdfminer.six and pypdfium2; both are optional
    PYTHONPATH=SITE python benchmarks/reading.py [FOLDER] [--pages 60] [--seed 0] [--to reading.json]

Two tables. *Drawn*: a page of each kind in `reading_pages.py`, whose words, boxes and order are known.
*Sampled*: seeded pages of the PDFs below FOLDER, against the words on which at least two of three parsers
(MuPDF, PDFium, pdfminer) agree at one place. Pages where they agree on fewer than 20 words are left out.

Columns: words **missed**, words that are not there (**extra**), words with the same letters and other ends
(**parted**: "2509" for "250" and "9"), the mean **IoU** of the boxes of words that are right, and **order**,
the share of neighbours in the true order that are neighbours in the reader's. On sampled pages a word that
a reader calls hidden, or joins over the end of a line, is not missed. Seconds are a page's, file opened
anew each time (ours: in its warm worker), as ratio to the fastest reader. OCR is off.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pymupdf
from reading_pages import drawn_pages
from reading_readers import ENGINES, Reader, Reading, readers

from mmrag.types import Box, Word

HYPHENS = "-\u00ad\u2010\u2011"
LEAST_WORDS = 20
AGREE = 0.5
"""Share of the smaller of two boxes that must lie in the other for the words to be at one place. Readers
draw boxes of other heights round the same letters."""


@dataclass
class Score:
    """A reader's words against true ones, of one page or summed over several."""

    words: int = 0
    missed: int = 0
    extra: int = 0
    parted: int = 0
    iou: float = 0.0
    matched: int = 0
    neighbours: int = 0
    kept: int = 0
    seconds: float = 0.0
    pages: int = 0
    failed: int = 0

    def __add__(self, score: Score) -> Score:
        return Score(*(a + b for a, b in zip(asdict(self).values(), asdict(score).values(), strict=True)))

    @property
    def mean_iou(self) -> float:
        return self.iou / max(1, self.matched)

    @property
    def order(self) -> float:
        return self.kept / max(1, self.neighbours)


def overlap(a: Box, b: Box) -> tuple[float, float]:
    """Share of the smaller of two boxes inside the other, and intersection over union."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0, 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    shared = across * down
    return shared / max(1e-12, min(areas)), shared / max(1e-12, sum(areas) - shared)


def letters(text: str) -> str:
    """Return a text as compared: ligatures written out."""
    return unicodedata.normalize("NFKC", text)


class Places:
    """Words by place, for looking up those near a box."""

    def __init__(self, words: Sequence[Word], cells: int = 40) -> None:
        self.words = words
        self._cells = cells
        self._grid: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, word in enumerate(words):
            for box in word.boxes:
                for cell in self._covered(box):
                    self._grid[cell].append(index)

    def _covered(self, box: Box) -> list[tuple[int, int]]:
        x0, y0, x1, y1 = (max(0, min(self._cells - 1, int(value * self._cells))) for value in box)
        return [(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)]

    def near(self, box: Box) -> list[int]:
        """Return positions of words of which a box is at one place with `box`."""
        candidates = sorted({index for cell in self._covered(box) for index in self._grid[cell]})
        return [i for i in candidates if max(overlap(part, box)[0] for part in self.words[i].boxes) >= AGREE]


def matches(truth: Sequence[Word], words: Sequence[Word]) -> dict[int, int]:
    """Pair true words with read ones of the same letters at the same place, the best overlap first."""
    places = Places(words)
    pairs = [
        (max(overlap(box, true.box)[1] for box in words[position].boxes), index, position)
        for index, true in enumerate(truth)
        for position in places.near(true.box)
        if same(true, words[position])
    ]
    paired: dict[int, int] = {}
    used: set[int] = set()
    for _, index, position in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if index not in paired and (position not in used or words[position].tail is not None):
            paired[index] = position
            used.add(position)
    return paired


def same(true: Word, word: Word) -> bool:
    """Whether a read word is a true one, or was joined from it and its other half over a line's end."""
    want, have = letters(true.text), letters(word.text)
    if want == have:
        return True
    if word.tail is None:
        return False
    return have.startswith(want.rstrip(HYPHENS)) or have.endswith(want)


def score(
    truth: Sequence[Word], reading: Reading, ignored: frozenset[str] = frozenset(), *, strict: bool
) -> Score:
    """Compare a reading with true words; `strict` counts hidden words as missed."""
    words = [word for word in reading.words if word.text not in ignored]
    paired = matches(truth, words)
    rest = [i for i in range(len(truth)) if i not in paired]
    if not strict:
        rest = [i for i in rest if not any(overlap(h.box, truth[i].box)[0] >= AGREE for h in reading.hidden)]
    parted, part_of = other_ends([truth[i] for i in rest], words, set(paired.values()))
    ranks = {index: rank for rank, index in enumerate(sorted(paired, key=lambda i: (paired[i], i)))}
    true_order = sorted(paired)
    pairs = list(itertools.pairwise(true_order))
    return Score(
        words=len(truth),
        missed=len(rest) - parted,
        extra=len(words) - len(set(paired.values()) | part_of),
        parted=parted,
        iou=sum(max(overlap(box, truth[i].box)[1] for box in words[j].boxes) for i, j in paired.items()),
        matched=len(paired),
        neighbours=len(pairs),
        kept=sum(ranks[b] == ranks[a] + 1 for a, b in pairs),
        seconds=reading.seconds,
        pages=1,
        failed=bool(reading.error),
    )


def other_ends(truth: Sequence[Word], words: Sequence[Word], used: set[int]) -> tuple[int, set[int]]:
    """Count true words whose letters are at their place in words with other ends; and return these words.

    A true word is parted if it is the letters of the read words there, joined, or a part of one of them.
    """
    places = Places(words)
    count, part_of = 0, set()
    for true in truth:
        near = [i for i in places.near(true.box) if i not in used]
        want = letters(true.text)
        if near and (
            want == "".join(letters(words[i].text) for i in near)
            or any(want in letters(words[i].text) for i in near)
        ):
            count += 1
            part_of.update(near)
    return count, part_of


def consensus(readings: Sequence[Sequence[Word]]) -> list[Word]:
    """Words that at least two of several readings have at one place, in the order of the first that has them.

    The box is the mean of the boxes that agree; words whose centre is off the page are left out.
    """
    agreed: list[Word] = []
    seen: list[set[int]] = [set() for _ in readings]
    for first, words in enumerate(readings[:-1]):
        paired = {second: matches(words, readings[second]) for second in range(first + 1, len(readings))}
        for index, word in enumerate(words):
            others = {second: pairs[index] for second, pairs in paired.items() if index in pairs}
            if index in seen[first] or not others:
                continue
            boxes = [word.box, *(readings[second][position].box for second, position in others.items())]
            for second, position in others.items():
                seen[second].add(position)
            x0, y0, x1, y1 = (sum(sides) / len(boxes) for sides in zip(*boxes, strict=True))
            if 0 <= (x0 + x1) / 2 <= 1 and 0 <= (y0 + y1) / 2 <= 1:
                agreed.append(Word(word.text, (x0, y0, x1, y1)))
    return agreed


# ---- the two parts ------------------------------------------------------------------------------------


def drawn(compared: Sequence[Reader], seed: int) -> dict[str, dict[str, Score]]:
    """Score every reader on every drawn page: kind -> reader -> score."""
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.pdf"
        for kind, sheet in drawn_pages(seed).items():
            path.write_bytes(sheet.to_bytes())
            truth, ignored = sheet.words, frozenset(sheet.ignored)
            table[kind] = {
                reader.name: score(truth, reader.timed(path, 0), ignored, strict=True) for reader in compared
            }
    return table


def sampled(compared: Sequence[Reader], folder: Path, count: int, seed: int) -> dict[str, Score]:
    """Score every reader on seeded pages below a folder: reader -> score summed over pages."""
    voters = [reader for reader in compared if reader.name in ENGINES]
    if len(voters) < len(ENGINES):
        print("sampled pages are left out: they need PyMuPDF, pypdfium2 and pdfplumber")
        return {}
    totals: dict[str, Score] = {reader.name: Score() for reader in compared}
    for path, number in seeded_pages(folder, count, seed):
        readings = {reader.name: reader.timed(path, number) for reader in compared}
        truth = consensus([readings[voter.name].words for voter in voters])
        if len(truth) < LEAST_WORDS:
            continue
        for name, reading in readings.items():
            one = score(truth, reading, strict=False)
            totals[name] += one
            if name.startswith("mmrag") and one.missed > 5:
                sys.stderr.write(
                    f"{name} misses {one.missed} of {one.words}: {path.name}, page {number + 1}\n"
                )
    return totals


def seeded_pages(folder: Path, count: int, seed: int) -> list[tuple[Path, int]]:
    """Choose files, then pages in them, the same for the same seed."""
    rng = random.Random(seed)
    paths, pages = sorted(folder.rglob("*.pdf")), []
    while paths and len(pages) < count:
        path = rng.choice(paths)
        try:
            with pymupdf.open(path) as document:
                if document.needs_pass:
                    raise ValueError("encrypted")
                pages.append((path, rng.randrange(document.page_count)))
        except Exception:  # noqa: BLE001  (a file that MuPDF cannot open is not compared)
            paths.remove(path)
    return pages


# ---- printing -----------------------------------------------------------------------------------------


def print_drawn(table: dict[str, dict[str, Score]]) -> None:
    names = list(next(iter(table.values())))
    print("drawn pages: missed+extra+parted of words, IoU, order")
    print(f"{'':24}{'words':>6}" + "".join(f"{name:>22}" for name in names))
    for kind, scores in table.items():
        print(f"{kind:24}{scores[names[0]].words:6}" + "".join(f"{_cell(s):>22}" for s in scores.values()))
    totals = {name: sum((scores[name] for scores in table.values()), Score()) for name in names}
    print(f"{'all':24}{totals[names[0]].words:6}" + "".join(f"{_cell(s):>22}" for s in totals.values()))
    fastest = min(s.seconds for s in totals.values())
    print(f"{'time':30}" + "".join(f"{s.seconds / fastest:>20.1f} x" for s in totals.values()))


def _cell(s: Score) -> str:
    return "failed" if s.failed else f"{s.missed}+{s.extra}+{s.parted} {s.mean_iou:.2f} {s.order:.2f}"


def print_sampled(totals: dict[str, Score]) -> None:
    if not totals:
        return
    first = next(iter(totals.values()))
    fastest = min(s.seconds for s in totals.values())
    print(f"\nsampled pages: {first.pages}, {first.words:,} words on which parsers agree")
    print(f"{'':16}{'missed':>9}{'extra':>9}{'parted':>9}{'IoU':>7}{'order':>7}{'time':>9}{'failed':>8}")
    for name, s in totals.items():
        print(
            f"{name:16}{s.missed / s.words:9.2%}{s.extra / s.words:9.2%}{s.parted / s.words:9.2%}"
            f"{s.mean_iou:7.2f}{s.order:7.2f}{s.seconds / fastest:7.1f} x{s.failed:8}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", nargs="?", type=Path, metavar="FOLDER", help="PDFs to sample (none: drawn pages only)")
    add("--pages", type=int, default=60, metavar="N", help="sampled pages (%(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="(%(default)s)")
    add("--small", action="store_true", help="the drawn pages alone: does it run")
    add("--json", "--to", dest="target", type=Path, metavar="FILE", help="write the scores as JSON")
    options = parser.parse_args(arguments)
    if options.small:
        options.folder = None
    compared = []
    for reader in readers():
        if reader.is_installed:
            compared.append(reader)
        else:
            print(f"{reader.name} is left out: {reader.package} is not installed")
    warm_up(compared)
    table = drawn(compared, options.seed)
    print_drawn(table)
    totals = sampled(compared, options.folder, options.pages, options.seed) if options.folder else {}
    print_sampled(totals)
    if options.target:
        data = {
            "drawn": {kind: {name: asdict(s) for name, s in row.items()} for kind, row in table.items()},
            "sampled": {name: asdict(s) for name, s in totals.items()},
        }
        options.target.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def warm_up(compared: Sequence[Reader]) -> None:
    """Read one page by every reader before the clock counts: modules are imported, workers are up."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.pdf"
        path.write_bytes(drawn_pages(1)["prose"].to_bytes())
        for reader in compared:
            reader.timed(path, 0)


if __name__ == "__main__":
    main()
