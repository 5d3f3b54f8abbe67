"""The shipped cross-encoder as a function: a question and passages in, one score a passage out."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmrag.embedders.onnx import OnnxBert, check_files, check_sums, side_by_side
from mmrag.errors import check_whole
from mmrag.forks import new_lock
from mmrag.machine import default_threads
from mmrag.onnx_sessions import ProviderOrder, Providers, provider_order

DEFAULT_MODEL_DIR = Path(__file__).parent.parent / "weights" / "ms-marco-minilm-l12-v2-int8"

QUESTION_TOKENS = 128
PASSAGE_TOKENS = 160
MOST_SCORES = 4096
"""Scores that are kept, those used last: of about 150 questions, in at most 4 MB."""


class CrossEncoder:
    """Reads a question and a passage together; the weights load on first use and may be shared by threads.

    Scores are remembered, so that what orders the pages of a search need not be read again to be quoted.

    Args:
        model_dir: folder with ``model.onnx`` and ``tokenizer.json``; see `mmrag.LocalReranker`. None: the
            shipped one.
        threads: passages read in parallel. None: ``OMP_NUM_THREADS`` where set, else the cores that the
            process may use.
        providers: what computes the graph, as ``["CUDAExecutionProvider"]`` or ``"auto"``. None:
            ``MMRAG_ONNX_PROVIDERS`` where set, else the CPU; see `mmrag.onnx_sessions`.

    Raises:
        FileNotFoundError: a file of the model is missing.
        ValueError: onnxruntime does not have a provider.
    """

    def __init__(
        self,
        model_dir: str | Path | None = None,
        *,
        threads: int | None = None,
        providers: Providers | ProviderOrder = None,
    ) -> None:
        self.model_dir = Path(model_dir) if model_dir is not None else DEFAULT_MODEL_DIR
        self.threads = default_threads() if threads is None else check_whole("threads", threads)
        self.providers = provider_order(providers)
        self._graph = check_files(self.model_dir, "cross-encoder")
        self._lock = new_lock()
        self._model: OnnxBert | None = None
        self._scores: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __reduce__(self) -> tuple[object, ...]:
        """Return the settings only; the weights load again on first use."""
        options: dict[str, Any] = {"threads": self.threads}
        if len(self.providers) > 1:
            options["providers"] = self.providers
        return functools.partial(CrossEncoder, self.model_dir, **options), ()

    def __call__(self, question: str, passages: Sequence[str]) -> list[float]:
        """Return the log-odds that each passage answers the question.

        A passage's score does not depend on the others. Long texts are cut: a question at 128 tokens, a
        passage at 160.
        """
        return list(side_by_side(functools.partial(self.score, question), passages, self.threads))

    def score(self, question: str, passage: str) -> float:
        """Return the log-odds that a passage answers the question; read in this thread, or remembered."""
        pair = question, passage
        with self._lock:
            if pair in self._scores:
                self._scores.move_to_end(pair)
                return self._scores[pair]
        model = self.load()
        tokens = model.tokenize(question)[:QUESTION_TOKENS]
        score = float(model.run(tokens, model.tokenize(passage)[:PASSAGE_TOKENS])[0])
        with self._lock:
            self._scores[pair] = score
            while len(self._scores) > MOST_SCORES:
                self._scores.popitem(last=False)
        return score

    def word_sizes(self, words: Sequence[str]) -> list[int]:
        """Return how many tokens each word has."""
        return [len(tokens) for tokens in self.load().tokenize_words(words)]

    def load(self) -> OnnxBert:
        """Load the weights, if they are not loaded yet, and return the model.

        Raises:
            ModelDamagedError: a file is not the one whose digest the folder states.
        """
        with self._lock:
            if self._model is None:
                check_sums(self.model_dir)
                self._model = OnnxBert(self._graph, self.providers)
            return self._model


def shipped_encoder(providers: Providers = None) -> CrossEncoder:
    """Return the cross-encoder of the package, one a process: its weights and scores are shared.

    Raises:
        ValueError: onnxruntime does not have a provider.
    """
    return _shipped_encoder(provider_order(providers))


@functools.lru_cache(maxsize=8)
def _shipped_encoder(providers: ProviderOrder) -> CrossEncoder:
    return CrossEncoder(providers=providers)
