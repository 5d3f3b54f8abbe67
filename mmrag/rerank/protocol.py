"""The protocols of rerankers and of their modes. A mode is a generator of requests and does no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

from mmrag.serving.prompts import Prompts
from mmrag.types import Candidate, Query, Ranking, Verdict

if TYPE_CHECKING:
    from mmrag.images import Render
    from mmrag.rerank.traces import TraceWriter
    from mmrag.serving.requests import Requests


@runtime_checkable
class Reranker(Protocol):
    """Takes a ranking and returns the same candidates in a better order.

    Example:
        >>> isinstance(qa.reranker, Reranker)
        True
    """

    def rerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        """Return a new ranking of at most `top_n` candidates; `ranking` is not changed."""
        ...

    async def arerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        """Run `rerank` without blocking the event loop."""
        ...


@runtime_checkable
class ThinkingReranker(Protocol):
    """A reranker whose model can write a thought before each verdict; known by its ``think_tokens``."""

    @property
    def think_tokens(self) -> int:
        """Most tokens of a thought, unless a call sets another number; 0 for no thought."""
        ...

    def rerank(
        self, ranking: Ranking, *, top_n: int | None = None, think_tokens: int | None = None
    ) -> Ranking:
        """Run `Reranker.rerank` with at most `think_tokens` tokens per thought. None: its own setting."""
        ...

    async def arerank(
        self, ranking: Ranking, *, top_n: int | None = None, think_tokens: int | None = None
    ) -> Ranking:
        """Run `rerank` without blocking the event loop."""
        ...


@runtime_checkable
class DecidingReranker(Protocol):
    """A reranker whose verdicts may say by themselves whether a page helps, not only which helps more."""

    @property
    def threshold(self) -> float | None:
        """Score of a verdict from which a page is said to help; None: the verdicts only compare."""
        ...


@runtime_checkable
class ScoreSettings(Protocol):
    """A reranker that can say what its scores depend on."""

    def score_settings(self) -> dict[str, Any]:
        """Return everything that changes the scores, as plain data."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a mode; `mmrag.rerank.ThinkReranker` documents each."""

    think_tokens: int = 0
    instruction: str | None = None
    images: bool = True
    text: bool = True
    text_chars: int | None = None
    image_pixels: int = 1_000_000
    render: Render | None = None
    prompts: Prompts = field(default_factory=Prompts)
    traces: TraceWriter | None = None
    sum_spellings: bool = False
    probe: bool = True
    passes: int = 1
    first: str = "query"
    extra: Mapping[str, Any] = field(default_factory=dict)


class Mode(Protocol):
    """A way of scoring candidates with a served model.

    Attributes:
        name: the mode's name in `mmrag.rerank.modes.MODES`.
        fingerprint: digest of the prompts and of what else changes the scores; ``""`` where the requests
            alone decide. Part of the key of the reply cache.
    """

    name: str

    @property
    def fingerprint(self) -> str:
        """Digest of what changes the scores for the same requests."""
        ...

    def requests(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """Return generators of requests that each score a consecutive run of the candidates.

        A mode that scores candidates independently returns one generator per candidate; one that compares
        them returns a single one. Joined in order, their results are one verdict per candidate. A result
        is a plain sequence, or `Verdicts` if there are notes on the whole run.
        """
        ...


@runtime_checkable
class PreparedMode(Protocol):
    """A mode that needs facts about the model, such as its context length, before the first verdict."""

    def prepare(self) -> Requests[None]:
        """Request these facts and store them; run once per server."""
        ...


@dataclass(frozen=True, slots=True)
class Verdicts(Sequence[Verdict]):
    """Verdicts of a run of candidates, with notes on the whole run.

    Attributes:
        verdicts: in the candidates' order.
        notes: appended to `Ranking.notes`, duplicates dropped.
    """

    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.verdicts)

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Verdict, ...]: ...
    def __getitem__(self, index: int | slice) -> Verdict | tuple[Verdict, ...]:
        return self.verdicts[index]
