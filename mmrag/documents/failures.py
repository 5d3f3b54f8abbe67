"""When so many pages of a file have failed in a row that the rest is left out."""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.documents.inputs import Skipped
from mmrag.types import Source

MOST_FAILURES = 100
"""Failed pages in a row; a damaged file may claim a million."""


class FailureRun:
    """Counts pages of a document that fail in a row.

    Args:
        source: of the document.
        numbers: of the pages that are read, in their order.
    """

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self._source = source
        self._numbers = numbers
        self._position = 0
        self._failures = 0

    def count(self, *, is_failure: bool) -> Skipped | None:
        """Count the next page; return what stands for all pages after it where they are to be left out."""
        self._position += 1
        self._failures = self._failures + 1 if is_failure else 0
        left = len(self._numbers) - self._position
        if self._failures < MOST_FAILURES or not left:
            return None
        reason = f"{self._failures} pages in a row cannot be read; the other {left} of the file are left out"
        return Skipped(self._source.name, reason, self._numbers[self._position], self._source.document_id)
