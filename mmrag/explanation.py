"""Which parts of a page a question matched: what late interaction did, and no more than that.

The score of a page is a sum: each row of the question is compared with all rows of the page, and the best of
them counts. `explain` says which rows of the page these were, how much of the score each of them gave, and
which words of the page they had seen. It does not say where the answer is: rows of long parts see much of the
page, the words of the question count in another channel, and a reranker reads the page once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmrag.embedders.base import Embedder
from mmrag.pipeline import DocumentQA
from mmrag.scoring import take_budget
from mmrag.types import Box, Budget, Page, Query

if TYPE_CHECKING:
    from PIL.Image import Image

HEAT = (255, 140, 26)
"""Of the darkest line: ink of this colour lets black letters stay black."""

NOTE = (
    "Each part of the question was compared with all parts of the page, and the part most alike counted. The "
    "shade is how much of the page's vector score came from there. It shows what the search matched, not "
    "where the answer is."
)

NO_BOXES = "This embedder's rows cannot be laid on the page."


@dataclass(frozen=True, slots=True)
class RowMatch:
    """A row of a page that counted.

    Attributes:
        row: its position in the page's matrix.
        share: of the page's vector score that it gave, 0..1; all of them together give 1.
        boxes: of the words that it has seen, line by line; empty if they are not known.
    """

    row: int
    share: float
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a question matched a page by their vectors.

    Attributes:
        page: the page; None for a plain text.
        score: the page's vector score at the budget.
        matches: rows that counted, the largest share first.
        note: what the picture of it shows, and what not.
    """

    page: Page | None
    score: float
    matches: tuple[RowMatch, ...]
    note: str

    def boxes(self) -> list[tuple[Box, float]]:
        """Return every line of words with its shade: 0..1, the darkest line has 1.

        The share of a row is spread evenly over the lines that it saw; a line that two rows saw has both.
        """
        shades: dict[Box, float] = {}
        for match in self.matches:
            for box in match.boxes:
                shades[box] = shades.get(box, 0.0) + match.share / len(match.boxes)
        most = max(shades.values(), default=1.0)
        return [(box, shade / most) for box, shade in shades.items()]

    def draw(self, picture: Image) -> Image:
        """Draw the shades of `boxes` on a picture of the page: a heat map.

        Args:
            picture: of the whole page, in any size (`mmrag.DocumentQA.render`); it is not changed.

        Returns:
            A new RGB image of the same size. Without boxes it is the page itself.

        Example::

            explanation = mmrag.explain(qa, question, ranking[0].id)
            explanation.draw(qa.render(explanation.page))
        """
        from PIL import Image, ImageChops, ImageDraw

        page = picture.convert("RGB")
        shades = Image.new("L", page.size, 0)
        pen = ImageDraw.Draw(shades)
        width, height = page.size
        for (x0, y0, x1, y1), shade in sorted(self.boxes(), key=lambda pair: pair[1]):  # the darker on top
            pen.rectangle((x0 * width, y0 * height, x1 * width, y1 * height), fill=round(255 * shade))
        white, heat = (Image.new("RGB", page.size, colour) for colour in ("white", HEAT))
        return ImageChops.multiply(page, Image.composite(heat, white, shades))


def explain(
    qa: DocumentQA, question: str | Query, record_id: str, *, budget: Budget | None = None
) -> Explanation:
    """Explain which parts of a page a question matched.

    Args:
        qa: the index.
        question: as it was searched for.
        record_id: of the page, as `Candidate.id` and `Citation.record_id` have it.
        budget: rows of both sides; None for all.

    Raises:
        KeyError: there is no such record.

    Example:
        >>> ranking = qa.search("Who chairs the board?")
        >>> explanation = explain(qa, "Who chairs the board?", ranking[0].id)
        >>> round(sum(match.share for match in explanation.matches), 6)
        1.0
    """
    records = qa.index.get([record_id], matrices=True)
    if not records or records[0].matrix is None:
        raise KeyError(f"record_id must be of a record of this index, got {record_id!r}.")
    record = records[0]
    query_rows, page_rows = (None, None) if budget is None else (budget.query, budget.document)
    query = take_budget(qa.embedder.encode_query([question])[0], query_rows)
    matrix = take_budget(np.asarray(record.matrix, np.float32), page_rows)
    similarity = query.astype(np.float32) @ matrix.T  # (Tq, T)
    best = similarity.argmax(1)  # (Tq,)
    gains = np.maximum(similarity.max(1), 0.0)  # (Tq,); what is below 0 is alike to nothing
    total = float(gains.sum()) or 1.0
    boxes = _boxes_of_rows(qa.embedder, record.page)
    shares = {int(row): float(gains[best == row].sum()) / total for row in np.unique(best)}
    matches = tuple(
        RowMatch(row, share, boxes[row] if row < len(boxes) else ())
        for row, share in sorted(shares.items(), key=lambda pair: -pair[1])
        if share > 0
    )
    note = NOTE if any(match.boxes for match in matches) else f"{NOTE} {NO_BOXES}"
    return Explanation(record.page, float(similarity.max(1).sum()), matches, note)


def _boxes_of_rows(embedder: Embedder, page: Page | None) -> list[tuple[Box, ...]]:
    """Return the boxes of the words that each row has seen, if the embedder knows them."""
    row_boxes = getattr(embedder, "row_boxes", None)
    if page is None or row_boxes is None:
        return []
    boxes: list[tuple[Box, ...]] = row_boxes(page)
    return boxes
