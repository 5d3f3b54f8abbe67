"""`ThinkReranker`: a served model scores the candidates again, with or without a thought before."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.errors import ServerError, check_whole
from mmrag.rerank.modes import MODES, load_mode
from mmrag.rerank.ordering import check_alpha, check_top_n, keep_order, reorder
from mmrag.rerank.protocol import Mode, PreparedMode, Settings, Verdicts
from mmrag.rerank.request import RESERVED_KEYS
from mmrag.rerank.uncertainty import uncertain_positions
from mmrag.serving.actions import Actions, Call, arun, run
from mmrag.serving.chat import SMALLEST_PICTURE
from mmrag.serving.client import ServerClient
from mmrag.serving.prompts import Prompts
from mmrag.serving.requests import Batch, ReplyCache, Runner, StaleReplyError
from mmrag.types import Ranking, Usage, Verdict

if TYPE_CHECKING:
    from mmrag.images import Render
    from mmrag.rerank.traces import TraceWriter

ON_ERROR = ("raise", "keep")
SHARE_MODES = ("pointwise", "ecrr", "qar")
"""Modes that can think about some of the candidates alone."""
THRESHOLDS = {"pointwise": 0.5, "ecrr": 0.5, "qar": 0.5, "likelihood": 0.0}
PAGE_FIRST_MODES = ("pointwise", "identifiers")
"""Modes whose prompts may begin with the page."""
LEAST_TEXT = 100
"""Characters of a page's text below which nothing can be judged."""
MOST_MODES = 16
"""Numbers of tokens to think, which callers choose, whose modes are kept."""
log = logging.getLogger(__name__)


class ThinkReranker:
    """Reorders a ranking by a served model's scores of its candidates.

    Args:
        base_url: the server, with or without ``/v1``.
        mode: ``pointwise``, ``listwise``, ``identifiers``, ``ecrr``, ``qar``, ``likelihood`` or ``served``.
        model: its name at the server; None if the server has just one.
        api_key: see `mmrag.serving.client.ServerClient`.
        think_tokens: most tokens of a thought before each answer; 0 does not think.
        think_share: of a question's candidates, the share that is thought about, 0..1: all are judged without
            a thought, then the most uncertain ones again with one (`mmrag.rerank.uncertainty`), one at least.
            1 thinks about all at once, 0 about none. Below 1 for ``pointwise``, ``ecrr`` and ``qar`` alone.
        top_n: most candidates to return. None: all.
        alpha: weight of the retrieval score, 0..1; see `mmrag.rerank.ordering`.
        instruction: what counts as relevant, in a sentence. None: the query's, else the prompt's.
        images: show page pictures to the model. False for models that only read text.
        text: show the pages' text.
        text_chars: most characters of a page's text where its picture is not shown; the page is cut around
            the question's words (see `mmrag.rerank.page_text`). None: the whole page, as far as the model's
            context reaches.
        image_pixels: largest area of a page picture.
        render: draws a page at a pixel budget; needed for pictures of pages that carry none.
            `mmrag.DocumentQA` gives its own to a reranker without.
        prompts: a folder with prompt files of your own; see `mmrag.serving.prompts`.
        traces: writes and stores the traces that ``ecrr`` and ``qar`` read.
        cache: folder of stored replies, so that no request is sent twice. None stores none.
        on_error: ``"raise"``; or ``"keep"``: a server's failure returns the prior order, marked
            ``reranked=False`` with ``why_not``.
        sum_spellings: add the probabilities of other spellings of the answer ("Yes", " yes", "YES").
        probe: ``served`` only: score an obvious pair first and refuse a server that gets it wrong.
        passes: ``identifiers`` only: 2 shows the pages in reverse order, too, and averages both, since models
            favour places.
        first: what prompts begin with, ``"query"`` or ``"page"``: a prefix cache keeps the query across
            its pages, or the page across queries. ``"page"`` for ``pointwise`` and ``identifiers``.
        timeout, max_retries, max_concurrency: see `mmrag.serving.client.ServerClient`.
        extra: further keys of chat requests, for example ``{"mm_processor_kwargs": {...}}``.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> reranker = ThinkReranker("http://127.0.0.1:8000", think_tokens=256, images=False)
        >>> ranking = qa.search("Who chairs the board?", rerank=reranker)  # doctest: +SKIP
        >>> ranking[0].verdict.thought  # doctest: +SKIP
        'The second page names the chair.'
    """

    def __init__(
        self,
        base_url: str,
        *,
        mode: str = "pointwise",
        model: str | None = None,
        api_key: str | None = None,
        think_tokens: int = 0,
        think_share: float = 1.0,
        top_n: int | None = None,
        alpha: float = 0.0,
        instruction: str | None = None,
        images: bool = True,
        text: bool = True,
        text_chars: int | None = None,
        image_pixels: int = 1_000_000,
        render: Render | None = None,
        prompts: str | Path | None = None,
        traces: TraceWriter | None = None,
        cache: str | Path | None = None,
        on_error: str = "raise",
        sum_spellings: bool = False,
        probe: bool = True,
        passes: int = 1,
        first: str = "query",
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
        if first not in ("query", "page"):
            raise ValueError(f"first must be 'query' or 'page', got {first!r}.")
        if first == "page" and mode not in PAGE_FIRST_MODES:
            raise ValueError(
                f"first must be 'query' for mode={mode!r}, got 'page': "
                f"only {' and '.join(PAGE_FIRST_MODES)} have prompts for it."
            )
        if not images and not text:
            raise ValueError("images and text must not both be False: nothing would be left to judge by.")
        extra_keys = sorted(RESERVED_KEYS & set(extra or {}))
        if extra_keys:
            raise ValueError(f"extra must not set {', '.join(extra_keys)}: these are set by the modes.")
        if not 0.0 <= think_share <= 1.0:
            raise ValueError(
                f"think_share must be 0 to 1, got {think_share!r}. 1 thinks about every candidate."
            )
        if think_share < 1.0 and mode not in SHARE_MODES:
            raise ValueError(
                f"think_share must be 1 for mode={mode!r}, got {think_share}: only {', '.join(SHARE_MODES)} "
                "judge each candidate alone, with and without a thought."
            )
        self.mode = mode
        self.think_share = float(think_share)
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
            think_tokens=check_whole("think_tokens", think_tokens, 0),
            instruction=instruction,
            images=images,
            text=text,
            text_chars=None if text_chars is None else check_whole("text_chars", text_chars, LEAST_TEXT),
            image_pixels=check_whole("image_pixels", image_pixels, SMALLEST_PICTURE),
            render=render,
            prompts=Prompts(prompts),
            traces=traces,
            sum_spellings=sum_spellings,
            probe=probe,
            passes=check_whole("passes", passes, 1, 2),
            first=first,
            extra=dict(extra or {}),
        )
        self._runner = Runner(self.client, None if cache is None else ReplyCache(cache))
        self._modes: dict[int, Mode] = {}  # by think_tokens
        self._prepared_modes: dict[int, Mode] = {}

    def __repr__(self) -> str:
        url, tokens = self.client.base_url, self.think_tokens
        return f"ThinkReranker({url!r}, mode={self.mode!r}, think_tokens={tokens})"

    @property
    def think_tokens(self) -> int:
        """Most tokens of a thought, unless a call sets another number; 0 for no thought."""
        return self.settings.think_tokens

    @property
    def threshold(self) -> float | None:
        """Score of a verdict from which a page is said to help; None where the mode's scores only compare."""
        return THRESHOLDS.get(self.mode)

    @property
    def render(self) -> Render | None:
        """Function that draws pages; None if it is not set, and `mmrag.DocumentQA` then sets its own."""
        return self.settings.render

    def with_render(self, render: Render) -> ThinkReranker:
        """Return a copy with the same client and cache that draws pages by `render`."""
        twin = copy.copy(self)
        twin.settings = replace(self.settings, render=render)
        twin._modes, twin._prepared_modes = {}, {}
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Drop the prepared modes; the client drops the key."""
        return {**self.__dict__, "_modes": {}, "_prepared_modes": {}}

    def score_settings(self) -> dict[str, Any]:
        """Return everything that changes the scores: model, thinking, what is shown, digest of prompts.

        Raises:
            ServerError: no model was named, and the server has not just one or cannot be reached.
        """
        tokens = self.think_tokens
        return {
            "model": self.client.model_name(),
            "think_tokens": tokens,
            "think_share": self.think_share,
            "images": self.settings.images,
            "text_chars": self.settings.text_chars,
            "passes": self.settings.passes,
            "first": self.settings.first,
            "fingerprint": self._mode(tokens).fingerprint,
        }

    def rerank(
        self,
        ranking: Ranking,
        *,
        top_n: int | None = None,
        alpha: float | None = None,
        think_tokens: int | None = None,
    ) -> Ranking:
        """Return a new ranking ordered by the model; arguments given here replace the reranker's own.

        Raises:
            ServerError: the server failed, or gave a reply that cannot be used (``on_error="raise"``).
            ValueError: a page has no picture and `render` is None.
            PageError: a page cannot be rendered.
        """
        return run(self._rerank(ranking, top_n, alpha, think_tokens))

    async def arerank(
        self,
        ranking: Ranking,
        *,
        top_n: int | None = None,
        alpha: float | None = None,
        think_tokens: int | None = None,
    ) -> Ranking:
        """Run `rerank` without blocking the event loop."""
        return await arun(self._rerank(ranking, top_n, alpha, think_tokens))

    def _rerank(
        self, ranking: Ranking, top_n: int | None, alpha: float | None, think_tokens: int | None
    ) -> Actions[Ranking]:
        top_n = self.top_n if top_n is None else check_top_n(top_n)
        alpha = self.alpha if alpha is None else check_alpha(alpha)
        tokens = self.think_tokens
        if think_tokens is not None:
            tokens = check_whole("think_tokens", think_tokens, 0)
        mode = self._mode(tokens)
        if not ranking.candidates:
            return reorder(ranking, [], alpha=alpha, top_n=top_n)
        start = time.monotonic()
        outcome = yield from self._score(mode, tokens, ranking)
        usage = replace(outcome.usage, seconds={"rerank": time.monotonic() - start})
        if outcome.failure is not None:
            return self._keep_or_raise(ranking, outcome.failure, top_n, usage)
        notes = [self._signature(mode), *dict.fromkeys(outcome.notes)]
        if self._runner.cache is not None and self._runner.cache.failure is not None:
            notes.append(self._runner.cache.failure)
        return reorder(ranking, outcome.verdicts, alpha=alpha, top_n=top_n, usage=usage, notes=notes)

    def _mode(self, tokens: int) -> Mode:
        mode = self._modes.get(tokens)
        if mode is None:
            mode = load_mode(self.mode, replace(self.settings, think_tokens=tokens))
            _keep(self._modes, tokens, mode)
        return mode

    def _score(self, mode: Mode, tokens: int, ranking: Ranking) -> Actions[_Outcome]:
        """Score the candidates, again as long as stored replies turn out to be of no use: each is dropped."""
        outcome = yield from self._score_once(mode, tokens, ranking, Usage())
        while isinstance(outcome.failure, StaleReplyError):
            outcome = yield from self._score_once(mode, tokens, ranking, outcome.usage)
        return outcome

    def _score_once(self, mode: Mode, tokens: int, ranking: Ranking, usage: Usage) -> Actions[_Outcome]:
        """Score the candidates, all alike or with a thought about the uncertain ones; `usage` is spent."""
        outcome = _Outcome(usage=usage)
        if not tokens or self.think_share == 1.0:
            yield from self._judge(mode, tokens, ranking, outcome)
            return outcome
        yield from self._judge(self._mode(0), 0, ranking, outcome)
        positions = [] if outcome.failure else uncertain_positions(outcome.verdicts, self.think_share)
        again = _Outcome(usage=outcome.usage)
        if positions:
            candidates = tuple(ranking[position] for position in positions)
            yield from self._judge(mode, tokens, replace(ranking, candidates=candidates), again)
        outcome.refine(positions, again)
        return outcome

    def _judge(self, mode: Mode, tokens: int, ranking: Ranking, outcome: _Outcome) -> Actions[None]:
        """Prepare the mode if this is its first ranking, then add its verdicts to the outcome."""
        if self._prepared_modes.get(tokens) is not mode and isinstance(mode, PreparedMode):
            outcome.add((yield Batch(self._runner, [mode.prepare()])))
            if outcome.failure is not None:
                return
            _keep(self._prepared_modes, tokens, mode)
        salt = yield Call(lambda: mode.fingerprint)
        work = yield Call(partial(mode.requests, ranking.query, ranking.candidates))
        outcome.add((yield Batch(self._runner.with_salt(salt), work)))

    def _keep_or_raise(
        self, ranking: Ranking, failure: ServerError, top_n: int | None, usage: Usage
    ) -> Ranking:
        if self.on_error == "raise":
            raise failure
        log.warning("the order was kept, since reranking failed: %s", failure)
        return keep_order(ranking, str(failure), top_n=top_n, usage=usage)

    def _signature(self, mode: Mode) -> str:
        """Return the note that names mode, model and prompts."""
        by = f" by {self.client.known_model}" if self.client.known_model else ""
        prompts = f", prompts {mode.fingerprint}" if mode.fingerprint else ""
        return f"reranked {mode.name}{by}{prompts}"


def _keep(modes: dict[int, Mode], tokens: int, mode: Mode) -> None:
    """Put a mode behind the others, and drop the oldest of more than `MOST_MODES`."""
    modes[tokens] = mode
    for oldest in list(modes)[:-MOST_MODES]:
        modes.pop(oldest, None)


@dataclass(slots=True)
class _Outcome:
    """The results of one ranking's generators, joined.

    Attributes:
        verdicts: in the order of the candidates, if there is no failure.
        notes: on the whole ranking.
        usage: of all requests.
        failure: the first error.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    failure: ServerError | None = None

    def add(self, results: Sequence[tuple[Sequence[Verdict] | ServerError | None, Usage]]) -> None:
        """Append the results of generators; those that only prepare a mode return None."""
        for result, usage in results:
            self.usage += usage
            if isinstance(result, ServerError):
                self.failure = self.failure or result
            elif result is not None:
                # The usage of candidates scored together is the ranking's alone: none has a share of it.
                self.verdicts += [replace(result[0], usage=usage)] if len(result) == 1 else result
                self.notes += result.notes if isinstance(result, Verdicts) else ()

    def refine(self, positions: Sequence[int], again: _Outcome) -> None:
        """Put verdicts after a thought in the place of those at these positions, and say so."""
        self.usage, self.failure = again.usage, self.failure or again.failure
        if self.failure is not None:
            return
        for position, verdict in zip(positions, again.verdicts, strict=True):
            before = self.verdicts[position]
            note = "; ".join(filter(None, (verdict.note, f"{before.score:.2f} before a thought")))
            self.verdicts[position] = replace(verdict, note=note, usage=before.usage + verdict.usage)
        count = f"{len(positions)} of {len(self.verdicts)}"
        self.notes += [*again.notes, f"thought about {count} candidates, the most uncertain"]
