"""The pack of letters: contracts, manuals, minutes and letters, asked in other words than theirs.

People ask "How long is the warranty?" where the page says "The guarantee runs for 36 months". The other packs
ask with the words of the page; this one shows what is lost where only the meaning is the same. The texts
stand in `letters_home` and `letters_work`. There are no scans and no tables, since other packs have them.
"""

from __future__ import annotations

from packs.book import A4, FACES, LETTER, Book, Spot, around
from packs.letters_home import HOME
from packs.letters_work import WORK
from packs.truth import Drawing, Query

PLANS = (*HOME, *WORK)
LEFT, TOP, BOTTOM, SIZE = 62.0, 74.0, 770.0, 10.5


def make(seed: int, number: int) -> Drawing:
    """Draw the document of a plan; the seed only chooses its face and paper."""
    plan = PLANS[number]
    face = FACES[(seed + number) % len(FACES)]
    book = Book((A4, LETTER)[(seed + number) % 2], plan.title)
    width = book.width - 2 * LEFT
    book.write(LEFT, TOP, plan.title, 15, face.bold)
    y = TOP + 16
    spots: dict[str, tuple[Spot, ...]] = {}
    blocks: dict[str, tuple[Spot, ...]] = {}
    for part in plan.parts:
        if y > BOTTOM - 60:
            book.new_page()
            y = TOP
        if part.startswith("# "):
            y += 26
            book.write(LEFT, y, part[2:], 12, face.bold)
            y += 4
            continue
        top = y + 6
        y, found = book.flow(LEFT, top, width, part, SIZE, face.plain)
        area = book.spot(LEFT, top, LEFT + width, y)
        spots |= found
        blocks |= dict.fromkeys(found, (area,))
    book.next_page()
    queries = [_query(words, phrases, "field", spots, blocks) for words, *phrases in plan.asked]
    queries += [
        Query(words, (answer,), "computed", *_places(phrases, spots, blocks))
        for words, answer, *phrases in plan.computed
    ]
    queries += [Query(words, kind="unanswerable") for words in plan.absent]
    return Drawing(f"{plan.name}.pdf", book.finish(), book.sizes, queries, plan.name, "Pure-text")


def _query(
    words: str,
    phrases: list[str],
    kind: str,
    spots: dict[str, tuple[Spot, ...]],
    blocks: dict[str, tuple[Spot, ...]],
) -> Query:
    return Query(words, ("; ".join(phrases),), kind, *_places(phrases, spots, blocks))


def _places(
    phrases: list[str], spots: dict[str, tuple[Spot, ...]], blocks: dict[str, tuple[Spot, ...]]
) -> tuple[tuple[Spot, ...], tuple[Spot, ...]]:
    values = tuple(spot for phrase in phrases for spot in spots[phrase])
    return values, around(spot for phrase in phrases for spot in blocks[phrase])
