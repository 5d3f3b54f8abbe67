"""The HTML page of ``mmrag evaluate --html``: pages drawn from the index, and the report around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.errors import MMRagError

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.evaluation import AnswerLine, Pack, PageKey
    from mmrag.evaluation.page.rows import StageScores
    from mmrag.pipeline import DocumentQA


class IndexedPages:
    """Draws the pages of a pack from its index."""

    def __init__(self, qa: DocumentQA) -> None:
        self._qa = qa
        self._ids = {Path(name).name: entry.id for entry in qa.status().documents for name in entry.names}

    def draw(self, key: PageKey, pixels: int) -> Image:
        """Draw a page.

        Raises:
            ValueError: the index lacks it, or it cannot be drawn.
        """
        name, number = key
        records = self._qa.index.get([f"{self._ids.get(name, '')}#p{number}"])
        page = records[0].page if records else None
        if page is None:
            raise ValueError(f"{name} must have a page {number + 1} in the index, got none.")
        try:
            return self._qa.render(page, max_pixels=pixels)
        except MMRagError as error:
            raise ValueError(str(error)) from error


def write_page(
    path: Path,
    pack: Pack,
    data: Mapping[str, Any],
    qa: DocumentQA,
    *,
    lines: Mapping[tuple[str, str], AnswerLine] | None,
    scores: StageScores,
    earlier: Mapping[str, Any] | None,
) -> None:
    """Write the page of a report; see `mmrag.evaluation.page.save_html`."""
    from mmrag.evaluation.page import save_html

    save_html(path, pack, data, lines=lines, scores=scores, earlier=earlier, draw=IndexedPages(qa).draw)
