"""From a ranking to an answer with the places that prove it.

`ExtractiveAnswerer` quotes and needs no server; `ServedAnswerer` asks a model behind a URL. Both are an
`Answerer`. Importing this package imports neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

from mmrag.blocks import Block
from mmrag.types import Answer, Page, Query, Ranking

if TYPE_CHECKING:
    from typing_extensions import Self

    from mmrag.answer.extractive import ExtractiveAnswerer
    from mmrag.answer.served.answerer import ServedAnswerer

__all__ = [
    "Answerer",
    "ExtractiveAnswerer",
    "PageBlocks",
    "ReadsBlocks",
    "ReadsNextPage",
    "ServedAnswerer",
    "with_next_page",
    "with_page_blocks",
]

AnyAnswerer = TypeVar("AnyAnswerer")

PageBlocks: TypeAlias = Callable[[Page], tuple[Block, ...]]
"""Returns the blocks of a page; raises `mmrag.errors.DocumentError` where they cannot be read."""

NextPage: TypeAlias = Callable[[Page], "Page | None"]
"""Returns the page behind a page; None where there is none."""


@runtime_checkable
class Answerer(Protocol):
    """Question and ranking in, answer out.

    Example:
        >>> isinstance(qa.answerer, Answerer)
        True
    """

    def answer(self, query: Query, ranking: Ranking) -> Answer:
        """Return the answer that the candidates hold, or one with ``abstained`` set."""
        ...

    async def aanswer(self, query: Query, ranking: Ranking) -> Answer:
        """Run `answer` without blocking the event loop."""
        ...


@runtime_checkable
class ReadsBlocks(Protocol):
    """An answerer that reads the structure of pages.

    Attributes:
        blocks: returns the blocks of a page; None if the answerer has no such function yet.
    """

    blocks: PageBlocks | None

    def with_blocks(self, blocks: PageBlocks) -> Self:
        """Return a copy that reads structure by `blocks`."""
        ...


@runtime_checkable
class ReadsNextPage(Protocol):
    """An answerer that follows a sentence over a page's end.

    Attributes:
        next_page: returns the page behind a page; None if the answerer has no such function yet.
    """

    next_page: NextPage | None

    def with_next_page(self, next_page: NextPage) -> Self:
        """Return a copy that finds the page behind a page by `next_page`."""
        ...


def with_next_page(answerer: AnyAnswerer, next_page: NextPage) -> AnyAnswerer:
    """Return `answerer`, or a copy that finds next pages if it reads them and has no function yet."""
    if isinstance(answerer, ReadsNextPage) and answerer.next_page is None:
        return cast("AnyAnswerer", answerer.with_next_page(next_page))
    return answerer


def with_page_blocks(answerer: AnyAnswerer, blocks: PageBlocks) -> AnyAnswerer:
    """Return `answerer`, or a copy that reads structure by `blocks` if it does and has no function yet."""
    if isinstance(answerer, ReadsBlocks) and answerer.blocks is None:
        return cast("AnyAnswerer", answerer.with_blocks(blocks))
    return answerer


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    """Import an answerer on first use."""
    if name == "ExtractiveAnswerer":
        from mmrag.answer.extractive import ExtractiveAnswerer

        return ExtractiveAnswerer
    if name == "ServedAnswerer":
        from mmrag.answer.served.answerer import ServedAnswerer

        return ServedAnswerer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
