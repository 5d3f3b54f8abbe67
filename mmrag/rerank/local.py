"""The reranker without a server: a small text cross-encoder in process, with weights that ship here.

A page is cut into windows of tokens. At most `LocalReranker.windows` of them are read together with the
question; the best one is the page's score, a log-odds. It is the baseline that a thinking server must beat.

Decisions taken here:

* *Time is tokens.* One core reads about 3,500 tokens a second, whatever the batch, so the only dial is how
  many are read: ``depth`` candidates of at most ``windows`` windows of ``window`` tokens.
* *Which windows are read* is decided by words alone: those that hold most of the question's tokens, each
  weighted by how few of the page's windows hold it (a word that stands everywhere picks nothing). The
  weights come from the page itself, so a page's score does not depend on the other candidates.
* *Pairs run one at a time*, in threads side by side: a score is the same to the last bit alone and in
  company (see `mmrag.embedders.onnx`).
* *It is fused by default* (``alpha = 0.5``, equal shares): read alone, a cross-encoder trained on web
  passages is no better than the retrieval score on documents unlike them.
* *A candidate without text* keeps its place: its score lies between the scores of the places above and
  below the one it had, and its verdict's note says so.

Trap: the weights read English. On pages in another language their order is close to noise, which ``alpha``
only halves.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mmrag.embedders.onnx import (
    POSITIONS,
    OnnxBert,
    Tokens,
    check_files,
    check_range,
    file_digest,
    side_by_side,
    slide,
)
from mmrag.errors import UnsupportedInputError
from mmrag.machine import default_threads
from mmrag.rerank.ordering import check_alpha, check_top_n, kept, reordered, with_rest
from mmrag.rerank.protocol import Judged, Settings
from mmrag.serving.requests import Requests
from mmrag.types import Candidate, Query, Ranking, Usage, Verdict

DEFAULT_MODEL_DIR = Path(__file__).parent.parent / "weights" / "ms-marco-minilm-l12-v2-int8"

NO_TEXT = "no text to read: kept in its prior place"

_ALGORITHM = "best-window-1"  # part of the fingerprint: raise it when the same settings give other scores
_SPECIAL = 3  # [CLS] question [SEP] window [SEP]


class LocalReranker:
    """Reads question and page text together, on the CPU, with weights that ship in the package.

    Loads lazily on first use; safe to share between threads.

    Args:
        model_dir: folder with ``model.onnx`` (a BERT cross-encoder: inputs ``input_ids``,
            ``attention_mask``, ``token_type_ids``; output ``(B, 1)`` log-odds) and ``tokenizer.json``.
            None: the shipped one.
        alpha: the retrieval score's share, 0..1; see `mmrag.rerank.base`.
        depth: candidates that are judged, from the first; the others follow in prior order. None: all.
        window: tokens of page text in a window, 1..400.
        stride: tokens from one window's start to the next's, 1..`window`. None: three quarters of it.
        windows: most windows of a page that are read.
        threads: windows read at the same time. None: ``OMP_NUM_THREADS`` where set, else as many as the
            process may use cores.

    Raises:
        ValueError: a setting is out of its range.
        FileNotFoundError: a file of the model is missing.
    """

    def __init__(
        self,
        model_dir: str | Path | None = None,
        *,
        alpha: float = 0.5,
        depth: int | None = 10,
        window: int = 128,
        stride: int | None = None,
        windows: int = 3,
        threads: int | None = None,
    ) -> None:
        self.alpha = check_alpha(alpha)
        self.depth = None if depth is None else check_range("depth", depth, 100_000)
        self.window = check_range("window", window, 400)
        self.stride = check_range("stride", max(1, window * 3 // 4) if stride is None else stride, window)
        self.windows = check_range("windows", windows, 100_000)
        self.threads = default_threads() if threads is None else check_range("threads", threads, 1024)
        self.model_dir = Path(model_dir) if model_dir is not None else DEFAULT_MODEL_DIR
        self._graph = check_files(self.model_dir, "local reranker")
        self._lock = threading.Lock()
        self._model: OnnxBert | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the settings; weights are loaded again on first use."""
        options = {name: getattr(self, name) for name in ("alpha", "depth", "window", "stride", "windows")}
        model_dir = None if self.model_dir == DEFAULT_MODEL_DIR else self.model_dir
        return functools.partial(LocalReranker, model_dir, **options), ()

    @property
    def name(self) -> str:
        """What it is, for people."""
        if self.model_dir == DEFAULT_MODEL_DIR:
            return "ms-marco-MiniLM-L12-v2 (text only)"
        return f"{self.model_dir.name} (text only)"

    @property
    def fingerprint(self) -> str:
        """Digest of the weights and of what is read with them; 32 hexadecimal digits."""
        settings = [
            _ALGORITHM,
            file_digest(self._graph),
            file_digest(self.model_dir / "tokenizer.json"),
            self.window,
            self.stride,
            self.windows,
        ]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]

    def rerank(self, ranking: Ranking, *, top_n: int | None = None, alpha: float | None = None) -> Ranking:
        """A new ranking of at most `top_n` candidates; the one given is not changed.

        ``scores["rerank"]`` and the verdict's score are log-odds. Candidates behind the first `depth` have
        no verdict and follow; see `mmrag.rerank.ordering.with_rest`.
        A question without words is not judged: the prior order comes back with ``why_not``.

        Args:
            ranking: best first.
            top_n: most candidates to give back. None: all.
            alpha: instead of this object's own.

        Raises:
            ValueError: `top_n` or `alpha` is out of its range.
        """
        alpha = self.alpha if alpha is None else check_alpha(alpha)
        check_top_n(top_n)
        if not (ranking.query.text or "").strip():
            return kept(ranking, "the local reranker reads words, and the question has none.", top_n=top_n)
        started = time.perf_counter()
        head = replace(ranking, candidates=ranking.candidates[: self.depth])
        said = self.judge(ranking.query, head.candidates)
        usage = Usage({"rerank": time.perf_counter() - started})
        judged = reordered(head, said, alpha=alpha, usage=usage, notes=said.notes)
        return with_rest(judged, ranking.candidates[len(head) :], top_n=top_n)

    async def arerank(
        self, ranking: Ranking, *, top_n: int | None = None, alpha: float | None = None
    ) -> Ranking:
        """`rerank` in a thread."""
        return await asyncio.to_thread(self.rerank, ranking, top_n=top_n, alpha=alpha)

    def judge(self, query: Query, candidates: Sequence[Candidate]) -> Judged:
        """A verdict for every candidate, in order, whatever `depth` is.

        Raises:
            UnsupportedInputError: the query has no text.
        """
        if not (query.text or "").strip():
            raise UnsupportedInputError(
                "the local reranker reads words only, got a query without text. Ask in words."
            )
        model = self._loaded()
        question = model.tokenize(query.text or "")
        room = POSITIONS - _SPECIAL - self.window
        notes = () if len(question) <= room else (f"the question was shortened to its first {room} tokens",)
        question = question[:room]
        read: list[tuple[int, Tokens]] = []  # (candidate, window)
        for place, candidate in enumerate(candidates):
            read += [(place, window) for window in self._chosen(question, candidate.record.text)]

        def score(pair: tuple[int, Tokens]) -> tuple[float, float]:
            started = time.perf_counter()
            value = float(model.run(question, pair[1])[0])
            return value, time.perf_counter() - started

        best: dict[int, float] = {}
        seconds = [0.0] * len(candidates)
        for (place, _), (value, took) in zip(read, side_by_side(score, read, self.threads), strict=True):
            best[place] = max(best.get(place, -math.inf), value)
            seconds[place] += took
        return Judged(all_verdicts(best, seconds), notes)

    def _chosen(self, question: Tokens, text: str) -> list[Tokens]:
        """The windows of a text that are read: the most promising ones, at most `windows`."""
        tokens = self._loaded().tokenize(text)
        if not tokens:
            return []
        windows = slide(tokens, self.window, self.stride)
        if len(windows) <= self.windows:
            return windows
        promise = _promise(question, windows)
        best = sorted(range(len(windows)), key=lambda place: (-promise[place], place))
        return [windows[place] for place in best[: self.windows]]

    def _loaded(self) -> OnnxBert:
        with self._lock:
            if self._model is None:
                self._model = OnnxBert(self._graph)
            return self._model


def _promise(question: Tokens, windows: Sequence[Tokens]) -> list[float]:
    """For each of n windows, the sum of ``log(1 + n / windows with it)`` over the question's tokens in it."""
    wanted = set(question)
    held = [wanted.intersection(window) for window in windows]
    spread = Counter(token for tokens in held for token in tokens)
    count = len(windows)
    return [math.fsum(math.log(1 + count / spread[token]) for token in tokens) for tokens in held]


def all_verdicts(best: Mapping[int, float], seconds: Sequence[float]) -> tuple[Verdict, ...]:
    """One verdict a candidate; those that were not read get the score of the place they had."""
    count = len(seconds)
    order = iter(sorted(best.values(), reverse=True))
    places = [next(order) if place in best else None for place in range(count)]  # scores by final place
    verdicts = []
    for place in range(count):
        if place in best:
            verdicts.append(Verdict(best[place], usage=Usage({"rerank": seconds[place]})))
            continue
        above = [score for score in places[:place] if score is not None][-1:]
        below = [score for score in places[place + 1 :] if score is not None][:1]
        near = above + below
        verdicts.append(Verdict(math.fsum(near) / len(near) if near else 0.0, note=NO_TEXT, read=False))
    return tuple(verdicts)


class LocalMode:
    """`LocalReranker` as a mode of `mmrag.rerank.ThinkReranker`: it asks no server.

    Raises:
        ValueError: it is asked to think.
    """

    name = "local"

    def __init__(self, settings: Settings) -> None:
        if settings.think_tokens:
            raise ValueError(
                f"mode='local' cannot think, got think_tokens={settings.think_tokens}. "
                "Pass 0, or a mode that asks a server."
            )
        self._reranker = LocalReranker()
        self.fingerprint = self._reranker.fingerprint

    def steps(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """One generator for all candidates, which asks nothing."""
        return [self._judge(query, candidates)]

    def _judge(self, query: Query, candidates: Sequence[Candidate]) -> Requests[Sequence[Verdict]]:
        return self._reranker.judge(query, candidates)
        yield  # what makes it a generator
