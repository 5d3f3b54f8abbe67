"""The protocols of rerankers and of their modes. A mode is a generator of requests and does no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

from mmrag.serving.prompts import Prompts
from mmrag.serving.requests import Requests
from mmrag.types import Candidate, Query, Ranking, Verdict

if TYPE_CHECKING:
    from mmrag.images import Render
    from mmrag.rerank.traces import TraceWriter


@dataclass(frozen=True, slots=True)
class Settings:
    """What a mode is built from; `mmrag.rerank.ThinkReranker` says what each means."""

    think_tokens: int = 0
    instruction: str | None = None
    images: bool = True
    text: bool = True
    image_pixels: int = 1_000_000
    render: Render | None = None
    prompts: Prompts = field(default_factory=Prompts)
    traces: TraceWriter | None = None
    sum_spellings: bool = False
    probe: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)


class Mode(Protocol):
    """A way of judging candidates.

    Attributes:
        name: as `ThinkReranker` is asked for it.
        fingerprint: changes with its prompts and with what else changes its verdicts; part of the cache key.
    """

    name: str

    @property
    def fingerprint(self) -> str:
        """A digest, or ``""`` where nothing but the requests themselves decides."""
        ...

    def steps(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """Generators that each judge a consecutive run of the candidates.

        One candidate each where they are judged alone, all of them where they are judged together; joined
        in order they give one verdict a candidate. A generator that asks nothing needs no server. What it
        returns may be a plain list or a `Judged` that has something to say of the whole.
        """
        ...


@runtime_checkable
class PreparedMode(Protocol):
    """A mode that has something to ask the server before its first verdict, once a client."""

    def prepare(self) -> Requests[None]:
        """Ask it and remember the answers."""
        ...


@dataclass(frozen=True, slots=True)
class Judged(Sequence[Verdict]):
    """Verdicts of a run of candidates, and what is to be said of all of them.

    Attributes:
        verdicts: in the candidates' order.
        notes: go to `Ranking.notes`, each once.
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


@runtime_checkable
class Reranker(Protocol):
    """A ranking in, the same candidates in a better order out."""

    def rerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        """A new ranking of at most `top_n` candidates; the one given is not changed."""
        ...

    async def arerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        """`rerank` without blocking the event loop."""
        ...
