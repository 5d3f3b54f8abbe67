"""`MiniEncoder`: the encoder of mmrag-mini in onnxruntime; content vectors and parts in, rows out.

The graph has no weights of its own: its initializers point into ``model.safetensors``, which torch reads, too
(`mmrag.models.mini`). Products with weights are int8, activations quantised per call, so windows run one at a
time, one core each: a row does not depend on other inputs of a call (see `mmrag.embedders.onnx`).

Letters of shapes in this folder: T content tokens, D width of states or rows, R rows, H and W of a grid.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmrag.embedders.mini.located import Part, View, Window, mask_of, views, windows_of
from mmrag.embedders.onnx import Tokens, WordPieces
from mmrag.onnx_sessions import ProviderOrder, Providers, open_session

WEIGHTS = "model.safetensors"

Floats = NDArray[np.float32]


class MiniEncoder:
    """Tokenizer, embedding table, encoder and heads; may be called from several threads.

    Args:
        model_dir: folder with `WEIGHTS`, ``encoder.onnx`` and ``tokenizer.json``.
        providers: of the session, see `mmrag.onnx_sessions`.

    Attributes:
        dim: width of a row.
    """

    def __init__(self, model_dir: Path, providers: Providers | ProviderOrder = None) -> None:
        from safetensors import safe_open

        with safe_open(model_dir / WEIGHTS, framework="numpy") as weights:  # the graph reads the layers
            self._words = weights.get_tensor("embeddings.word")  # uint8: float32 would be four times as large
            self._scale = weights.get_tensor("embeddings.word_scale")
            self._zero = weights.get_tensor("embeddings.word_zero")
            self._meta = {side: weights.get_tensor(f"meta.{side}") for side in ("query", "document")}
            self._projection: Floats = weights.get_tensor("projection")
            self._position: Floats = weights.get_tensor("embeddings.position")[0]
        self._session = open_session(model_dir / "encoder.onnx", providers)
        self.tokenizer = WordPieces(model_dir / "tokenizer.json")
        self.dim = int(self._projection.shape[0])

    def embed(self, ids: Tokens) -> Floats:
        """Look up the input vectors ``(T, D)`` of word pieces."""
        whole = self._words[np.array(ids, np.intp)]  # (T, D), uint8
        vectors: Floats = (whole.astype(np.float32) - self._zero.astype(np.float32)) * self._scale
        return vectors

    def rows(self, content: Floats, parts: list[Part], side: str, prefix: Tokens | None = None) -> Floats:
        """Compute one row per part, ``(R, dim)``.

        A row is the unit vector of its part. The row of a part longer than a window is the mean of the unit
        vectors of its pieces, of a length below 1: at length 1 it would beat its own parts
        (``docs/lab-log.md``, "Fusion").

        Args:
            content: ``(T, D)`` input vectors, without special tokens.
            parts: of ``max(T, 1)`` tokens, rows in order; see `mmrag.embedders.mini.located.parts_of`.
            side: ``"query"`` or ``"document"``; chooses the meta tokens.
            prefix: word pieces of an instruction; before the content of every window, seen by level 0 only.
        """
        if len(content) == 0:
            return self._window(content, [None], [0], side, prefix or [])
        total = np.zeros((len(parts), self.dim))
        weight = np.zeros((len(parts), 1))
        for window, window_views in views(parts, windows_of(len(content))):
            if not window_views:
                continue
            spans = [_span(view, window) for view in window_views]
            inside, numbers = content[window.start : window.end], [view.row for view in window_views]
            rows = self._window(inside, spans, numbers, side, prefix or [])  # (views, dim)
            for view, row in zip(window_views, rows, strict=True):
                total[view.row] += row * (view.end - view.start)
                weight[view.row] += view.end - view.start
        return (total / weight).astype(np.float32)

    def _window(
        self, content: Floats, spans: list[tuple[int, int] | None], rows: list[int], side: str, prefix: Tokens
    ) -> Floats:
        states = self._states(content, spans, rows, side, prefix)  # (R, D)
        projection = states @ self._projection.T  # (R, dim)
        unit: Floats = projection / np.linalg.norm(projection, axis=1, keepdims=True)
        return unit

    def _states(
        self, content: Floats, spans: list[tuple[int, int] | None], rows: list[int], side: str, prefix: Tokens
    ) -> Floats:
        before = self.embed([self.tokenizer.first, *prefix])
        vectors = np.concatenate([before, content, self.embed([self.tokenizer.last])])  # (T, D)
        shift = len(before)
        shifted_spans = [None if span is None else (span[0] + shift, span[1] + shift) for span in spans]
        meta = self._meta[side][rows] + self._position  # (R, D)
        feed = {"content": vectors, "meta": meta, "mask": mask_of(len(vectors), shifted_spans)}
        states: Floats = self._session.run(None, feed)[0]  # (R, D)
        return states


def _span(view: View, window: Window) -> tuple[int, int] | None:
    """Return the positions of a view in its window; None if it is the whole window."""
    if view.start <= window.first and view.end >= window.last:
        return None
    return view.start - window.start, view.end - window.start
