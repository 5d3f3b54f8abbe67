"""`ThinkReranker`: a served model judges the first candidates again, thinking first where it is asked to."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.client import ServerClient
from mmrag.errors import ServerAnswerError, ServerError
from mmrag.rerank.base import check_alpha, check_top_n, kept, reordered
from mmrag.rerank.mode import MODES, Judged, Mode, PreparedMode, Settings, load_mode
from mmrag.rerank.prompt_files import Prompts
from mmrag.rerank.steps import ReplyCache, Runner
from mmrag.types import Ranking, Usage, Verdict

if TYPE_CHECKING:
    from mmrag.rerank.mode import Render
    from mmrag.rerank.traces import TraceWriter

ON_ERROR = ("raise", "keep")


class ThinkReranker:
    """Reorders a ranking by what a model says of each candidate.

    Args:
        base_url: the server, with or without ``/v1``; not needed for ``mode="local"``.
        mode: ``pointwise``, ``listwise``, ``ecrr``, ``qar``, ``likelihood``, ``served`` or ``local``.
        model: its name there; None where the server has just one.
        api_key: see `mmrag.client.ServerClient`.
        think_tokens: most tokens of a thought before each answer; 0 does not think.
        top_n: how many candidates come back; None returns all.
        alpha: the retrieval score's share, 0 to 1; see `mmrag.rerank.base`.
        instruction: what counts as relevant, in a sentence; None leaves it to the prompt.
        images: show page pictures to the model. False is for models that only read.
        text: show the pages' text.
        image_pixels: largest area of a page picture.
        render: draws a page at a pixel budget; needed for pictures of pages that carry none.
            `mmrag.DocumentQA` gives its own to a reranker without.
        prompts: a folder with prompt files of one's own; see `mmrag.rerank.prompt_files`.
        traces: writes and keeps the traces that ``ecrr`` and ``qar`` read.
        cache: a folder that keeps every reply, so that the same request is asked once; None keeps none.
        on_error: ``"raise"``; or ``"keep"``: a server's failure returns the prior order, marked
            ``reranked=False`` with ``why_not``.
        sum_spellings: count other spellings of the answer too ("Yes", " yes", "YES").
        probe: ``served`` only: ask an obvious pair first and refuse a server that cannot tell it.
        timeout, max_retries, max_concurrency: see `mmrag.client.ServerClient`.
        extra: further keys of chat requests, for example ``{"mm_processor_kwargs": {...}}``.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        base_url: str | None = None,
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
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}.")
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error must be 'raise' or 'keep', got {on_error!r}.")
        if base_url is None and mode != "local":
            raise ValueError(
                f"mode={mode!r} must have the server's base_url, got None. "
                "Start one with: mmrag serve MODEL. Or pass mode='local'."
            )
        self.mode = mode
        self.top_n = check_top_n(top_n)
        self.alpha = check_alpha(alpha)
        self.on_error = on_error
        self.client = (
            None
            if base_url is None
            else ServerClient(
                base_url,
                model=model,
                api_key=api_key,
                timeout=timeout,
                max_retries=max_retries,
                max_concurrency=max_concurrency,
            )
        )
        self.settings = Settings(
            think_tokens=think_tokens,
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
        self._modes: dict[int, Mode] = {}
        self._ready: set[int] = set()

    def __repr__(self) -> str:
        url = None if self.client is None else self.client.base_url
        return f"ThinkReranker({url!r}, mode={self.mode!r}, think_tokens={self.settings.think_tokens})"

    @property
    def render(self) -> Render | None:
        """How pages are drawn; None where nobody has said, and `mmrag.DocumentQA` then gives its own."""
        return self.settings.render

    def with_render(self, render: Render) -> ThinkReranker:
        """A copy with the same client and cache that draws pages by `render`."""
        raise RuntimeError("under way")

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
        raise RuntimeError("under way")

    async def arerank(
        self,
        ranking: Ranking,
        *,
        top_n: int | None = None,
        alpha: float | None = None,
        think_tokens: int | None = None,
    ) -> Ranking:
        """`rerank` without blocking the event loop."""
        raise RuntimeError("under way")
