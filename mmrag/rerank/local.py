"""The reranker without a server: a small text cross-encoder in process, with weights that ship here.

A page is cut into windows of tokens. At most `LocalReranker.windows` of them are read together with the
question; the score of the best one, a log-odds, is the page's.

Decisions taken here (docs/lab-log.md has what each gives):

* *Time is tokens.* A core reads a few thousand tokens per second, whatever the batch, so the only dial is how
  many are read: ``depth`` candidates of at most ``windows`` windows of ``window`` tokens. One window a page
  gives more than half of what three give. Shorter pieces give nothing: a quote is too little to judge a page.
* *Words choose the windows*: those that contain most of the question's words are read, each word weighted by
  how few of the page's windows contain it (a word found in every window tells nothing). Words are compared
  by their stems, as quotes are chosen. The weights come from the page itself, so a page's score does not
  depend on the other candidates. Nor does it depend on structure that is read and kept later.
* *The page says whose it is*: the first words of its context (title, file name, section) stand before every
  window. Without them a question that names a document is best answered by covers, which name it too.
* *Pairs run one at a time*, in parallel threads: a score is the same to the last bit alone and in company
  (see `mmrag.embedders.onnx`).
* *The score is fused by default*: alone, a cross-encoder trained on web passages is no better than the
  retrieval score on documents unlike them. It is added as it is, in units of `UNIT`, and not standardised
  over the candidates: where every page is as unlikely as the next, small differences must not be made large.
* *A candidate without text keeps its rank*: its score lies between those of the ranks above and below, and
  its verdict has ``read=False``.

Trap: the weights read English. A question or a page in another script than the Latin one is not read; in
another language of that script the order is close to noise, which ``alpha`` only halves.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import math
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmrag.answer.words import content_stems
from mmrag.answer_form import without_answer_form
from mmrag.embedders.cross_encoder import (
    DEFAULT_MODEL_DIR,
    PASSAGE_TOKENS,
    QUESTION_TOKENS,
    CrossEncoder,
    shipped_encoder,
)
from mmrag.embedders.onnx import check_files, file_digest, side_by_side
from mmrag.errors import UnsupportedInputError, check_whole
from mmrag.machine import default_threads
from mmrag.onnx_sessions import Providers
from mmrag.rerank.ordering import append_rest, check_alpha, check_top_n, keep_order, reorder
from mmrag.rerank.page_text import window_weights
from mmrag.rerank.protocol import Verdicts
from mmrag.types import Candidate, Query, Ranking, Record, Usage, Verdict

NO_TEXT = "no text to read: kept in its prior place"

ALPHA = 0.5
"""Weight of the retrieval score by default."""
UNIT = 5.0
"""Log-odds that weigh as much as a standard deviation of the candidates' retrieval scores."""

CONTEXT_WORDS = 14
"""Most words of a record's context before a window."""
CONTEXT_TOKENS = 40
"""Most tokens of them."""

_ALGORITHM = "best-window-3"  # part of the fingerprint: raise it when the same settings give other scores


class LocalReranker:
    """Cross-encoder that reads question and page text together, in process, with weights in the package.

    The weights load on first use. Instances may be shared between threads.

    Args:
        model_dir: folder with ``model.onnx`` (a BERT cross-encoder: inputs ``input_ids``,
            ``attention_mask``, ``token_type_ids``; output ``(B, 1)`` log-odds) and ``tokenizer.json``.
            None: the shipped one.
        alpha: weight of the retrieval score, 0..1; see `mmrag.rerank.ordering`.
        depth: candidates that are scored, from the first; the rest follows in prior order. None: all.
        window: tokens of page text per window, whole words, 1..120; the context before it comes to that.
        stride: tokens from one window's start to the next's, 1..`window`. None: three quarters of it.
        windows: most windows read per page.
        threads: windows read in parallel. None: ``OMP_NUM_THREADS`` where set, else the cores that the
            process may use.
        providers: what computes the graph, as ``["CUDAExecutionProvider"]`` or ``"auto"``. None:
            ``MMRAG_ONNX_PROVIDERS`` where set, else the CPU; see `mmrag.onnx_sessions`.

    Raises:
        ValueError: a setting is out of its range, or onnxruntime does not have a provider.
        FileNotFoundError: a file of the model is missing.

    Example:
        >>> ranking = qa.search("Who chairs the board?", rerank=False)
        >>> LocalReranker(alpha=0.0).rerank(ranking)[0].page.number
        1
    """

    def __init__(
        self,
        model_dir: str | Path | None = None,
        *,
        alpha: float = ALPHA,
        depth: int | None = 10,
        window: int = 112,
        stride: int | None = None,
        windows: int = 1,
        threads: int | None = None,
        providers: Providers = None,
    ) -> None:
        self.alpha = check_alpha(alpha)
        self.depth = None if depth is None else check_whole("depth", depth)
        self.window = check_whole("window", window, 1, PASSAGE_TOKENS - CONTEXT_TOKENS)
        self.stride = check_whole("stride", max(1, window * 3 // 4) if stride is None else stride, 1, window)
        self.windows = check_whole("windows", windows)
        self.threads = default_threads() if threads is None else check_whole("threads", threads, 1, 1024)
        self.model_dir = Path(model_dir) if model_dir is not None else DEFAULT_MODEL_DIR
        check_files(self.model_dir, "local reranker")
        is_shipped = self.model_dir == DEFAULT_MODEL_DIR
        self._named_providers = providers
        self.encoder = (
            shipped_encoder(providers) if is_shipped else CrossEncoder(self.model_dir, providers=providers)
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Return the settings only; the weights load again on first use."""
        options = {name: getattr(self, name) for name in ("alpha", "depth", "window", "stride", "windows")}
        if self._named_providers is not None:
            options["providers"] = self._named_providers
        model_dir = None if self.model_dir == DEFAULT_MODEL_DIR else self.model_dir
        return functools.partial(LocalReranker, model_dir, **options), ()

    @property
    def threshold(self) -> float:
        """Log-odds from which a page is said to help: even odds."""
        return 0.0

    @property
    def fingerprint(self) -> str:
        """Digest of the weights and of the settings that change scores; 32 hexadecimal digits."""
        settings = [
            _ALGORITHM,
            file_digest(self.model_dir / "model.onnx"),
            file_digest(self.model_dir / "tokenizer.json"),
            QUESTION_TOKENS,
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
        no verdict and follow; see `mmrag.rerank.ordering.append_rest`. For a query with an image, without
        text, or in another script than the Latin one, the prior order comes back with ``why_not``.

        Args:
            ranking: best first.
            top_n: most candidates to return. None: all.
            alpha: replaces the instance's own.

        Raises:
            ValueError: `top_n` or `alpha` is out of its range.
        """
        alpha = self.alpha if alpha is None else check_alpha(alpha)
        check_top_n(top_n)
        if why_not := _why_unread(ranking.query):
            return keep_order(ranking, f"{why_not}.", top_n=top_n)
        start = time.perf_counter()
        head = replace(ranking, candidates=ranking.candidates[: self.depth])
        verdicts = self.score(ranking.query, head.candidates)
        usage = Usage({"rerank": time.perf_counter() - start})
        head = reorder(head, verdicts, alpha=alpha, unit=UNIT, usage=usage, notes=verdicts.notes)
        return append_rest(head, ranking.candidates[len(head) :], top_n=top_n)

    async def arerank(
        self, ranking: Ranking, *, top_n: int | None = None, alpha: float | None = None
    ) -> Ranking:
        """Run `rerank` in a thread."""
        return await asyncio.to_thread(self.rerank, ranking, top_n=top_n, alpha=alpha)

    def score(self, query: Query, candidates: Sequence[Candidate]) -> Verdicts:
        """Return a verdict for every candidate, in order; `depth` does not apply.

        Raises:
            UnsupportedInputError: the query has an image or no text, or its script is not the Latin one.
        """
        if why_not := _why_unread(query):
            raise UnsupportedInputError(f"{why_not}. Ask in words of a language in Latin letters.")
        question = without_answer_form(query.text or "")
        stems = frozenset(content_stems(question))
        windows = [
            (index, window)
            for index, candidate in enumerate(candidates)
            for window in self._passages(stems, candidate.record)
        ]
        best: dict[int, float] = {}  # by index of the candidate
        seconds = [0.0] * len(candidates)
        scores = side_by_side(lambda pair: self._time_score(question, pair[1]), windows, self.threads)
        for (index, _), (score, duration) in zip(windows, scores, strict=True):
            best[index] = max(best.get(index, -math.inf), score)
            seconds[index] += duration
        return Verdicts(all_verdicts(best, seconds), self._notes(question))

    def _notes(self, question: str) -> tuple[str, ...]:
        if sum(self.encoder.word_sizes(question.split())) <= QUESTION_TOKENS:
            return ()
        return (f"the question was shortened to its first {QUESTION_TOKENS} tokens",)

    def _time_score(self, question: str, window: str) -> tuple[float, float]:
        """Return the log-odds of a window and the seconds that it took."""
        start = time.perf_counter()
        return self.encoder.score(question, window), time.perf_counter() - start

    def _passages(self, stems: frozenset[str], record: Record) -> list[str]:
        """Return the windows of a record that are read, each behind the first words of its context."""
        words = record.context.split()[:CONTEXT_WORDS]
        sizes = self.encoder.word_sizes(words)
        while sum(sizes) > CONTEXT_TOKENS:
            sizes = sizes[:-1]
        context = " ".join(words[: len(sizes)])
        windows = self._select_windows(stems, record.text)
        return [f"{context}. {window}" for window in windows] if context else windows

    def _select_windows(self, stems: frozenset[str], text: str) -> list[str]:
        """Return the at most `windows` windows of a text that share most with the question's stems."""
        if not is_latin(text):
            return []
        words = text.split()
        spans = word_windows(self.encoder.word_sizes(words), self.window, self.stride)
        windows = [" ".join(words[span.start : span.stop]) for span in spans]
        if len(windows) <= self.windows:
            return windows
        weights = window_weights(stems, [content_stems(window) for window in windows])
        best = sorted(range(len(windows)), key=lambda index: (-weights[index], index))
        return [windows[index] for index in best[: self.windows]]


def word_windows(sizes: Sequence[int], window: int, stride: int) -> list[range]:
    """Return windows of words, each of at most `window` tokens or of one longer word, which hold every word.

    Args:
        sizes: tokens of each word.
        window: most tokens of a window.
        stride: most tokens from one window's start to the next's, but for a longer word.
    """
    windows: list[range] = []
    start = 0
    while start < len(sizes):
        end, size, next_start = start, 0, start
        while end < len(sizes) and (end == start or size + sizes[end] <= window):
            size += sizes[end]
            end += 1
            if size <= stride or next_start == start:
                next_start = end
        windows.append(range(start, end))
        if end == len(sizes):
            break
        start = next_start
    return windows


def is_latin(text: str) -> bool:
    """Check whether at least half of a text's letters are Latin ones; without letters it is."""
    if text.isascii():
        return True
    letters = [char for char in text if char.isalpha()]
    latin = sum(char.isascii() or unicodedata.name(char, "").startswith("LATIN") for char in letters)
    return 2 * latin >= len(letters)


def _why_unread(query: Query) -> str:
    """Return why a query cannot be read; empty if it can."""
    if not (query.text or "").strip():
        return "the local reranker reads words, and the question has none"
    if query.image is not None:
        return "the local reranker reads words, and the question has an image, too"
    if not is_latin(query.text or ""):
        return "the local reranker reads English, and the question is not in Latin letters"
    return ""


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
