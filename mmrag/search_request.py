"""One search as it is asked for, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mmrag.answer_form import without_answer_form
from mmrag.document_groups import GROUP_BY, GROUP_REACH, group_by_document
from mmrag.errors import UnsupportedInputError, check_whole
from mmrag.index.filters import Filter
from mmrag.types import Budget, Query, Ranking

if TYPE_CHECKING:
    from mmrag.rerank import Reranker

CHANNELS = ("vectors", "text")

MOST_QUERIES = 8
"""Further queries of a search that looks again."""

LONGEST_QUERY = 20_000
"""Characters of a query: about 3,000 words, which take seconds to embed."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search; `mmrag.DocumentQA.search` documents the fields.

    The retriever leaves `rerank`, `think_tokens` and `look_again` to the stages after it.

    Raises:
        ValueError: `k` below 1, unknown or no channels, `look_again` out of 0..`MOST_QUERIES`, or a query
            longer than `LONGEST_QUERY`.
        UnsupportedInputError: a query of an image alone for the text channel alone.
    """

    query: Query
    k: int = 10
    budget: Budget | None = None
    filter: Filter | None = None
    exact: bool = False
    channels: Sequence[str] = CHANNELS
    rerank: Reranker | str | bool | None = None
    think_tokens: int | None = None
    group_by: str | None = None
    look_again: int = 0

    def __post_init__(self) -> None:
        """Refuse what no index can search."""
        check_whole("k", self.k)
        check_whole("look_again", self.look_again, 0, MOST_QUERIES, hint="0 does not look again.")
        if self.group_by not in (None, *GROUP_BY):
            raise ValueError(f"group_by must be None or one of {GROUP_BY}, got {self.group_by!r}.")
        if isinstance(self.channels, str) or not self.channels or not set(self.channels) <= set(CHANNELS):
            raise ValueError(f"channels must be one or both of {CHANNELS} in a list, got {self.channels!r}.")
        if (length := len(self.query.text or "")) > LONGEST_QUERY:
            raise ValueError(
                f"a query must be at most {LONGEST_QUERY} characters, got {length}. Shorten it, or search "
                "for its parts one by one."
            )
        if not self.has_vectors and not self.words:
            raise UnsupportedInputError(
                "the text channel searches words, got a query of an image alone and channels "
                f"{tuple(self.channels)!r}. Add the channel 'vectors'."
            )

    @property
    def pages(self) -> int:
        """Return how many pages are ranked: `k`, or enough of them to find `k` documents."""
        return self.k if self.group_by is None else self.k * GROUP_REACH

    def group(self, ranking: Ranking) -> Ranking:
        """Return the ranking of `pages` pages as it was asked for."""
        return ranking if self.group_by is None else group_by_document(ranking, self.k)

    @property
    def has_vectors(self) -> bool:
        """Whether the vectors are searched."""
        return "vectors" in self.channels

    @property
    def words(self) -> str:
        """Return the words that the text channel searches; ``""`` if it searches none."""
        return self.text if "text" in self.channels else ""

    @property
    def text(self) -> str:
        """Return the words of the query that say what to look for; ``""`` where it has none."""
        return without_answer_form((self.query.text or "").strip())

    @property
    def searched_query(self) -> Query:
        """Return the query as it is encoded."""
        if self.query.parts or not self.text or self.text == self.query.text:
            return self.query
        return replace(self.query, text=self.text)


def as_query(query: str | Query) -> Query:
    """Return a question as a `Query`.

    Raises:
        TypeError: another type.
        ValueError: no text.
    """
    if isinstance(query, str):
        return Query(text=query)
    if not isinstance(query, Query):
        raise TypeError(f"a query must be str or Query, got {type(query).__name__}.")
    return query
