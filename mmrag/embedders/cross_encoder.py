"""The shipped cross-encoder as a function: a question and passages in, one score a passage out."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path

from mmrag.embedders.onnx import OnnxBert, check_files, side_by_side
from mmrag.errors import check_whole
from mmrag.machine import default_threads

DEFAULT_MODEL_DIR = Path(__file__).parent.parent / "weights" / "ms-marco-minilm-l12-v2-int8"

QUESTION_TOKENS = 64
PASSAGE_TOKENS = 160


class CrossEncoder:
    """Reads a question and a passage together; the weights load on first use and may be shared by threads.

    Args:
        model_dir: folder with ``model.onnx`` and ``tokenizer.json``; see `mmrag.LocalReranker`. None: the
            shipped one.
        threads: passages read in parallel. None: ``OMP_NUM_THREADS`` where set, else the cores that the
            process may use.

    Raises:
        FileNotFoundError: a file of the model is missing.
    """

    def __init__(self, model_dir: str | Path | None = None, *, threads: int | None = None) -> None:
        self.model_dir = Path(model_dir) if model_dir is not None else DEFAULT_MODEL_DIR
        self.threads = default_threads() if threads is None else check_whole("threads", threads)
        self._graph = check_files(self.model_dir, "cross-encoder")
        self._lock = threading.Lock()
        self._model: OnnxBert | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Return the settings only; the weights load again on first use."""
        return functools.partial(CrossEncoder, self.model_dir, threads=self.threads), ()

    def __call__(self, question: str, passages: Sequence[str]) -> list[float]:
        """Return the log-odds that each passage answers the question.

        A passage's score does not depend on the others. Long texts are cut: a question at 64 tokens, a
        passage at 160.
        """
        with self._lock:
            if self._model is None:
                self._model = OnnxBert(self._graph)
            model = self._model
        tokens = model.tokenize(question)[:QUESTION_TOKENS]

        def score(passage: str) -> float:
            return float(model.run(tokens, model.tokenize(passage)[:PASSAGE_TOKENS])[0])

        return list(side_by_side(score, passages, self.threads))
