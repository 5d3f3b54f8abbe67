"""From a ranking to an answer with the places that prove it.

`ExtractiveAnswerer` quotes and needs no server; `ServedAnswerer` asks a model behind a URL. Both are an
`Answerer`. Importing this package imports neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mmrag.types import Answer, Query, Ranking

if TYPE_CHECKING:
    from mmrag.answer.extractive import ExtractiveAnswerer
    from mmrag.answer.served.answerer import ServedAnswerer

__all__ = ["Answerer", "ExtractiveAnswerer", "ServedAnswerer"]


@runtime_checkable
class Answerer(Protocol):
    """Question and ranking in, answer out."""

    def answer(self, query: Query, ranking: Ranking) -> Answer:
        """Return the answer that the candidates hold, or one with ``abstained`` set."""
        ...

    async def aanswer(self, query: Query, ranking: Ranking) -> Answer:
        """Run `answer` without blocking the event loop."""
        ...


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    """Import an answerer on first use."""
    if name == "ExtractiveAnswerer":
        from mmrag.answer.extractive import ExtractiveAnswerer

        return ExtractiveAnswerer
    if name == "ServedAnswerer":
        from mmrag.answer.served.answerer import ServedAnswerer

        return ServedAnswerer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
