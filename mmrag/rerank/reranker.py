"""`ThinkReranker`: a served model judges the first candidates again, thinking first where it is asked to."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.errors import ServerError
from mmrag.rerank.modes import MODES, load_mode
from mmrag.rerank.ordering import check_alpha, check_top_n, keep_order, reorder
from mmrag.rerank.protocol import Mode, PreparedMode, Settings, Verdicts
from mmrag.rerank.request import RESERVED_KEYS
from mmrag.serving.chat import SMALLEST_PICTURE
from mmrag.serving.client import ServerClient
from mmrag.serving.prompts import Prompts
from mmrag.serving.requests import ReplyCache, Requests, Runner
from mmrag.types import Ranking, Usage, Verdict

if TYPE_CHECKING:
    from mmrag.images import Render
    from mmrag.rerank.traces import TraceWriter

ON_ERROR = ("raise", "keep")
log = logging.getLogger(__name__)


class ThinkReranker:
    """Reorders a ranking by what a model says of each candidate.

    Args:
        base_url: the server, with or without ``/v1``.
        mode: ``pointwise``, ``listwise``, ``ecrr``, ``qar``, ``likelihood`` or ``served``.
        model: its name there; None where the server has just one.
        api_key: see `mmrag.serving.client.ServerClient`.
        think_tokens: most tokens of a thought before each answer; 0 does not think.
        top_n: how many candidates come back; None returns all.
        alpha: the retrieval score's share, 0 to 1; see `mmrag.rerank.base`.
        instruction: what counts as relevant, in a sentence; None leaves it to the prompt.
        images: show page pictures to the model. False is for models that only read.
        text: show the pages' text.
        image_pixels: largest area of a page picture.
        render: draws a page at a pixel budget; needed for pictures of pages that carry none.
            `mmrag.DocumentQA` gives its own to a reranker without.
        prompts: a folder with prompt files of one's own; see `mmrag.serving.prompts`.
        traces: writes and keeps the traces that ``ecrr`` and ``qar`` read.
        cache: a folder that keeps every reply, so that the same request is asked once; None keeps none.
        on_error: ``"raise"``; or ``"keep"``: a server's failure returns the prior order, marked
            ``reranked=False`` with ``why_not``.
        sum_spellings: count other spellings of the answer too ("Yes", " yes", "YES").
        probe: ``served`` only: ask an obvious pair first and refuse a server that cannot tell it.
        timeout, max_retries, max_concurrency: see `mmrag.serving.client.ServerClient`.
        extra: further keys of chat requests, for example ``{"mm_processor_kwargs": {...}}``.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        base_url: str,
        *,
        mode: str = "pointwise",
        model: str | None = None,
        api_key: str | None = None,
        think_tokens: int = 0,
        top_n: int | None = None,
        alpha: float = 0.0,
        instruction: str | None = None,
        images: bool = True,
        text: bool = True,
        image_pixels: int = 1_000_000,
        render: Render | None = None,
        prompts: str | Path | None = None,
        traces: TraceWriter | None = None,
        cache: str | Path | None = None,
        on_error: str = "raise",
        sum_spellings: bool = False,
        probe: bool = True,
        timeout: float = 300.0,
        max_retries: int = 2,
        max_concurrency: int = 8,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(
                f"mode must be one of {', '.join(MODES)}, got {mode!r}. LocalReranker needs no server."
            )
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error must be 'raise' or 'keep', got {on_error!r}.")
        if image_pixels < SMALLEST_PICTURE:
            raise ValueError(f"image_pixels must be at least {SMALLEST_PICTURE}, got {image_pixels!r}.")
        if not images and not text:
            raise ValueError("images and text must not both be False: nothing would be left to judge by.")
        owned = sorted(RESERVED_KEYS & set(extra or {}))
        if owned:
            raise ValueError(f"extra must not set {', '.join(owned)}: these are set by the modes.")
        self.mode = mode
        self.top_n = check_top_n(top_n)
        self.alpha = check_alpha(alpha)
        self.on_error = on_error
        self.client = ServerClient(
            base_url,
            model=model,
            api_key=api_key,
            timeout=timeout,
            max_retries=max_retries,
            max_concurrency=max_concurrency,
        )
        self.settings = Settings(
            think_tokens=check_think_tokens(think_tokens),
            instruction=instruction,
            images=images,
            text=text,
            image_pixels=image_pixels,
            render=render,
            prompts=Prompts(prompts),
            traces=traces,
            sum_spellings=sum_spellings,
            probe=probe,
            extra=dict(extra or {}),
        )
        self._runner = Runner(self.client, None if cache is None else ReplyCache(cache))
        self._modes: dict[int, Mode] = {}  # by think_tokens
        self._ready: set[int] = set()  # of these the server has been asked what they need to know

    def __repr__(self) -> str:
        tokens = self.settings.think_tokens
        return f"ThinkReranker({self.client.base_url!r}, mode={self.mode!r}, think_tokens={tokens})"

    @property
    def render(self) -> Render | None:
        """How pages are drawn; None where nobody has said, and `mmrag.DocumentQA` then gives its own."""
        return self.settings.render

    def with_render(self, render: Render) -> ThinkReranker:
        """A copy with the same client and cache that draws pages by `render`."""
        twin = copy.copy(self)
        twin.settings = replace(self.settings, render=render)
        twin._modes, twin._ready = {}, set()
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Without what was learned of the server; the key stays out as the client's does."""
        return {**self.__dict__, "_modes": {}, "_ready": set()}

    def rerank(
        self,
        ranking: Ranking,
        *,
        top_n: int | None = None,
        alpha: float | None = None,
        think_tokens: int | None = None,
    ) -> Ranking:
        """A new ranking, ordered by the model; arguments given here replace those of the reranker.

        Raises:
            ServerError: the server, or an answer of it, is not as it must be (``on_error="raise"``).
            ValueError: a page has no picture and there is no `render` to draw one.
            PageError: a page cannot be rendered.
        """
        job = self._job(ranking, top_n, alpha, think_tokens)
        if not ranking.candidates:
            return job.nothing()
        first = job.preparation()
        if job.prepared(self._runner.run(first) if first else []):
            runner = self._runner.with_salt(job.mode.fingerprint)
            job.results = runner.run(job.mode.requests(ranking.query, ranking.candidates))
        return job.finish(self.client.known_model if job.results else None)

    async def arerank(
        self,
        ranking: Ranking,
        *,
        top_n: int | None = None,
        alpha: float | None = None,
        think_tokens: int | None = None,
    ) -> Ranking:
        """`rerank` without blocking the event loop."""
        job = self._job(ranking, top_n, alpha, think_tokens)
        if not ranking.candidates:
            return job.nothing()
        first = job.preparation()
        if job.prepared(await self._runner.arun(first) if first else []):
            salt = await asyncio.to_thread(lambda: job.mode.fingerprint)
            steps = await asyncio.to_thread(job.mode.requests, ranking.query, ranking.candidates)
            job.results = await self._runner.with_salt(salt).arun(steps)
        return job.finish(self.client.known_model if job.results else None)

    def _job(
        self, ranking: Ranking, top_n: int | None, alpha: float | None, think_tokens: int | None
    ) -> _Job:
        top_n = self.top_n if top_n is None else check_top_n(top_n)
        alpha = self.alpha if alpha is None else check_alpha(alpha)
        tokens = self.settings.think_tokens if think_tokens is None else check_think_tokens(think_tokens)
        mode = self._modes.get(tokens)
        if mode is None:
            mode = self._modes[tokens] = load_mode(self.mode, replace(self.settings, think_tokens=tokens))
        return _Job(ranking, mode, tokens, self._ready, top_n, alpha, self.on_error)


@dataclass(slots=True)
class _Job:
    """One ranking under way: what sync and async share."""

    ranking: Ranking
    mode: Mode
    tokens: int
    ready: set[int]
    top_n: int | None
    alpha: float
    on_error: str
    started: float = field(default_factory=time.monotonic)
    usage: Usage = field(default_factory=Usage)
    results: list[tuple[Sequence[Verdict] | ServerError, Usage]] = field(default_factory=list)
    failure: ServerError | None = None

    def nothing(self) -> Ranking:
        """A ranking of nothing, in the best order there is."""
        return reorder(self.ranking, [], alpha=self.alpha, top_n=self.top_n)

    def preparation(self) -> list[Requests[None]]:
        """What is to be asked before the first verdict of this mode."""
        if self.tokens in self.ready or not isinstance(self.mode, PreparedMode):
            return []
        return [self.mode.prepare()]

    def prepared(self, results: Sequence[tuple[ServerError | None, Usage]]) -> bool:
        """Whether the candidates may be judged now."""
        for result, usage in results:
            self.usage += usage
            if isinstance(result, ServerError):
                self.failure = result
        if self.failure is None and results:
            self.ready.add(self.tokens)
        return self.failure is None

    def finish(self, model: str | None) -> Ranking:
        """The new ranking, or the prior one where a failure is to be kept quiet.

        Raises:
            ServerError: the first one there was, with ``on_error="raise"``.
        """
        verdicts: list[Verdict] = []
        notes: list[str] = []
        for result, usage in self.results:
            self.usage += usage
            if isinstance(result, ServerError):
                self.failure = self.failure or result
                continue
            # What several candidates shared stands on the ranking alone: no share of it is anybody's own.
            verdicts += [replace(result[0], usage=usage)] if len(result) == 1 else result
            notes += result.notes if isinstance(result, Verdicts) else ()
        cost = replace(self.usage, seconds={"rerank": time.monotonic() - self.started})
        if self.failure is not None:
            return self._failed(self.failure, cost)
        return reorder(
            self.ranking,
            verdicts,
            alpha=self.alpha,
            top_n=self.top_n,
            usage=cost,
            notes=[self._signature(model), *dict.fromkeys(notes)],
        )

    def _failed(self, failure: ServerError, cost: Usage) -> Ranking:
        if self.on_error == "raise":
            raise failure
        log.warning("the order was kept, since reranking failed: %s", failure)
        return keep_order(self.ranking, str(failure), top_n=self.top_n, usage=cost)

    def _signature(self, model: str | None) -> str:
        """Who judged, and by which prompts."""
        by = f" by {model}" if model else ""
        prompts = f", prompts {self.mode.fingerprint}" if self.mode.fingerprint else ""
        return f"reranked {self.mode.name}{by}{prompts}"


def check_think_tokens(tokens: int) -> int:
    """`tokens`, where it is a count.

    Raises:
        ValueError: below 0, or no whole number.
    """
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        raise ValueError(f"think_tokens must be a whole number of at least 0, got {tokens!r}.")
    return tokens
