"""The reranker without a server: a small text cross-encoder in process, with weights that ship here.

A page is cut into windows of tokens. At most `LocalReranker.windows` of them are read together with the
question; the score of the best one, a log-odds, is the page's.

Decisions taken here:

* *Time is tokens.* One core reads about 3,500 tokens per second, whatever the batch, so the only dial is how
  many are read: ``depth`` candidates of at most ``windows`` windows of ``window`` tokens.
* *Words choose the windows*: those that contain most of the question's tokens are read, each token weighted
  by how few of the page's windows contain it (a word found in every window tells nothing). The weights come
  from the page itself, so a page's score does not depend on the other candidates.
* *Pairs run one at a time*, in parallel threads: a score is the same to the last bit alone and in company
  (see `mmrag.embedders.onnx`).
* *The score is fused by default* (``alpha = 0.5``): alone, a cross-encoder trained on web passages is no
  better than the retrieval score on documents unlike them.
* *A candidate without text keeps its rank*: its score lies between those of the ranks above and below, and
  its verdict has ``read=False``.

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
from typing import Any

from mmrag.embedders.cross_encoder import DEFAULT_MODEL_DIR
from mmrag.embedders.onnx import POSITIONS, OnnxBert, Tokens, check_files, file_digest, side_by_side, slide
from mmrag.errors import UnsupportedInputError, check_whole
from mmrag.machine import default_threads
from mmrag.rerank.ordering import append_rest, check_alpha, check_top_n, keep_order, reorder
from mmrag.rerank.protocol import Verdicts
from mmrag.types import Candidate, Query, Ranking, Usage, Verdict

NO_TEXT = "no text to read: kept in its prior place"

_ALGORITHM = "best-window-1"  # part of the fingerprint: raise it when the same settings give other scores
_SPECIAL = 3  # [CLS] question [SEP] window [SEP]


class LocalReranker:
    """Cross-encoder that reads question and page text together, on the CPU, with weights in the package.

    The weights load on first use. Instances may be shared between threads.

    Args:
        model_dir: folder with ``model.onnx`` (a BERT cross-encoder: inputs ``input_ids``,
            ``attention_mask``, ``token_type_ids``; output ``(B, 1)`` log-odds) and ``tokenizer.json``.
            None: the shipped one.
        alpha: weight of the retrieval score, 0..1; see `mmrag.rerank.ordering`.
        depth: candidates that are scored, from the first; the rest follows in prior order. None: all.
        window: tokens of page text per window, 1..400.
        stride: tokens from one window's start to the next's, 1..`window`. None: three quarters of it.
        windows: most windows read per page.
        threads: windows read in parallel. None: ``OMP_NUM_THREADS`` where set, else the cores that the
            process may use.

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
        self.depth = None if depth is None else check_whole("depth", depth)
        self.window = check_whole("window", window, 1, 400)
        self.stride = check_whole("stride", max(1, window * 3 // 4) if stride is None else stride, 1, window)
        self.windows = check_whole("windows", windows)
        self.threads = default_threads() if threads is None else check_whole("threads", threads, 1, 1024)
        self.model_dir = Path(model_dir) if model_dir is not None else DEFAULT_MODEL_DIR
        self._graph = check_files(self.model_dir, "local reranker")
        self._lock = threading.Lock()
        self._model: OnnxBert | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Return the settings only; the weights load again on first use."""
        options = {name: getattr(self, name) for name in ("alpha", "depth", "window", "stride", "windows")}
        model_dir = None if self.model_dir == DEFAULT_MODEL_DIR else self.model_dir
        return functools.partial(LocalReranker, model_dir, **options), ()

    @property
    def fingerprint(self) -> str:
        """Digest of the weights and of the settings that change scores; 32 hexadecimal digits."""
        settings = [
            _ALGORITHM,
            file_digest(self._graph),
            file_digest(self.model_dir / "tokenizer.json"),
            self.window,
            self.stride,
            self.windows,
        ]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]

    def score_settings(self) -> dict[str, Any]:
        """Return everything that changes the scores: the fingerprint."""
        return {"fingerprint": self.fingerprint}

    def rerank(self, ranking: Ranking, *, top_n: int | None = None, alpha: float | None = None) -> Ranking:
        """Return a new ranking of at most `top_n` candidates; `ranking` is not changed.

        ``scores["rerank"]`` and the verdict's score are log-odds. Candidates behind the first `depth` have
        no verdict and follow; see `mmrag.rerank.ordering.append_rest`. For a query without text the prior
        order comes back with ``why_not``.

        Args:
            ranking: best first.
            top_n: most candidates to return. None: all.
            alpha: replaces the instance's own.

        Raises:
            ValueError: `top_n` or `alpha` is out of its range.
        """
        alpha = self.alpha if alpha is None else check_alpha(alpha)
        check_top_n(top_n)
        if not (ranking.query.text or "").strip():
            why_not = "the local reranker reads words, and the question has none."
            return keep_order(ranking, why_not, top_n=top_n)
        start = time.perf_counter()
        head = replace(ranking, candidates=ranking.candidates[: self.depth])
        verdicts = self.score(ranking.query, head.candidates)
        usage = Usage({"rerank": time.perf_counter() - start})
        head = reorder(head, verdicts, alpha=alpha, usage=usage, notes=verdicts.notes)
        return append_rest(head, ranking.candidates[len(head) :], top_n=top_n)

    async def arerank(
        self, ranking: Ranking, *, top_n: int | None = None, alpha: float | None = None
    ) -> Ranking:
        """Run `rerank` in a thread."""
        return await asyncio.to_thread(self.rerank, ranking, top_n=top_n, alpha=alpha)

    def score(self, query: Query, candidates: Sequence[Candidate]) -> Verdicts:
        """Return a verdict for every candidate, in order; `depth` does not apply.

        Raises:
            UnsupportedInputError: the query has no text.
        """
        if not (query.text or "").strip():
            raise UnsupportedInputError(
                "the local reranker reads words only, got a query without text. Ask in words."
            )
        question, notes = self._question(query.text or "")
        windows = [
            (index, window)
            for index, candidate in enumerate(candidates)
            for window in self._select_windows(question, candidate.record.text)
        ]
        best: dict[int, float] = {}  # by index of the candidate
        seconds = [0.0] * len(candidates)
        scores = side_by_side(lambda pair: self._time_score(question, pair[1]), windows, self.threads)
        for (index, _), (score, duration) in zip(windows, scores, strict=True):
            best[index] = max(best.get(index, -math.inf), score)
            seconds[index] += duration
        return Verdicts(all_verdicts(best, seconds), notes)

    def _question(self, text: str) -> tuple[Tokens, tuple[str, ...]]:
        """Return the tokens of the question, cut to leave room for a window, and a note if they were cut."""
        tokens = self._loaded_model().tokenize(text)
        room = POSITIONS - _SPECIAL - self.window
        if len(tokens) <= room:
            return tokens, ()
        return tokens[:room], (f"the question was shortened to its first {room} tokens",)

    def _time_score(self, question: Tokens, window: Tokens) -> tuple[float, float]:
        """Return the log-odds of a window and the seconds that it took."""
        start = time.perf_counter()
        score = float(self._loaded_model().run(question, window)[0])
        return score, time.perf_counter() - start

    def _select_windows(self, question: Tokens, text: str) -> list[Tokens]:
        """Return the at most `windows` windows of a text that share most with the question."""
        tokens = self._loaded_model().tokenize(text)
        if not tokens:
            return []
        windows = slide(tokens, self.window, self.stride)
        if len(windows) <= self.windows:
            return windows
        weights = window_weights(question, windows)
        best = sorted(range(len(windows)), key=lambda index: (-weights[index], index))
        return [windows[index] for index in best[: self.windows]]

    def _loaded_model(self) -> OnnxBert:
        with self._lock:
            if self._model is None:
                self._model = OnnxBert(self._graph)
            return self._model


def window_weights(question: Tokens, windows: Sequence[Tokens]) -> list[float]:
    """Return, per window, the sum of ``log(1 + n / windows with it)`` over the question's tokens in it.

    n is the number of windows.
    """
    terms = set(question)
    matches = [terms.intersection(window) for window in windows]
    frequency = Counter(token for tokens in matches for token in tokens)
    count = len(windows)
    return [math.fsum(math.log(1 + count / frequency[token]) for token in tokens) for tokens in matches]


def all_verdicts(best: Mapping[int, float], seconds: Sequence[float]) -> tuple[Verdict, ...]:
    """Return one verdict per candidate; a candidate that was not read gets the score of its prior rank.

    Args:
        best: scores of the candidates that were read, by index.
        seconds: time spent on each candidate.
    """
    order = iter(sorted(best.values(), reverse=True))
    rank_scores = [next(order) if index in best else None for index in range(len(seconds))]  # by final rank
    return tuple(
        Verdict(best[index], usage=Usage({"rerank": duration}))
        if index in best
        else Verdict(_score_between(rank_scores, index), note=NO_TEXT, read=False)
        for index, duration in enumerate(seconds)
    )


def _score_between(rank_scores: Sequence[float | None], index: int) -> float:
    """Return the mean of the nearest scores above and below `index`; 0 if there are no scores."""
    above = [score for score in rank_scores[:index] if score is not None][-1:]
    below = [score for score in rank_scores[index + 1 :] if score is not None][:1]
    nearest = above + below
    return math.fsum(nearest) / len(nearest) if nearest else 0.0
