"""`TextEmbedder`: a BERT text encoder of your own, exported to ONNX, over windows of a page's text.

For encoders in the manner of bge-small-en-v1.5: one vector per text, the state of [CLS], and an instruction
before questions. Row 0 is the mean of a page's windows (its single vector); the windows follow in an order
in which every prefix is spread over the whole page.

Decisions taken here:

* *Windows run one at a time.* In an int8 export activations are quantised per tensor, so a text's vector
  depends on its neighbours in a batch (cosine 0.985 to 0.998 with itself, measured with bge-small). Alone
  it does not, and on the CPUs measured it is no slower: padding is never computed. Threads run different
  windows in parallel, one core each.
* *A mean keeps its length.* Row 0 is the mean of unit vectors and is not scaled to length 1 again, so its
  score is the average over the windows and never beats the best of them: a longer prefix refines a score
  and does not compete with the summary. A mean of length 1 beats its own windows, the more so the longer
  the page, because averaging keeps the common part of all windows (``docs/lab-log.md``, "Fusion").
* *Nothing is cut off.* A text of more windows than there are rows has neighbouring windows merged (their
  mean); a question longer than a window is the mean of its windows. Time is linear in the text.
* *A page without text* gets the vector of the empty string, which scores like an average unrelated page
  against any question (`benchmarks/embedder.py --blank`): such a page is in the index and does not win by
  accident. Of a file of one page, a photograph for example, the words of its name are embedded instead. In a
  longer file they would lift every blank page at once.
* *Images are ignored* in a page, or in a `Content` with text; an image without text, or in a query, is
  refused.

Trap: other processors may round int8 sums differently (AVX2 without VNNI saturates), so vectors of two
machines can differ slightly while the fingerprint is the same.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.embedders.base import (
    DocumentInput,
    EmbedderBase,
    QueryInput,
    as_document,
    as_query,
    check_batch,
    searchable_text,
)
from mmrag.embedders.onnx import (
    POSITIONS,
    OnnxBert,
    Tokens,
    check_files,
    check_sums,
    file_digest,
    side_by_side,
    slide,
)
from mmrag.errors import check_whole
from mmrag.forks import new_lock
from mmrag.machine import default_threads
from mmrag.onnx_sessions import Providers, provider_order
from mmrag.progress import progress_bar
from mmrag.types import Budget, Matrix, Query

QUERY_INSTRUCTION = "Represent this sentence for searching relevant passages: "
"""Instruction of queries in the model card of bge-small-en-v1.5; documents have none."""

MAX_WINDOW = POSITIONS - 2
"""Positions of the encoder (512) without its two special tokens."""

_ALGORITHM = "windows-2"  # part of the fingerprint: raise it when the same settings give other vectors

Vector = NDArray[np.float32]


class TextEmbedder(EmbedderBase):
    """Text in, nested vectors of windows out, on the CPU unless `providers` says otherwise.

    Loads lazily on first use; safe to share between threads.

    Args:
        model_dir: folder with ``model.onnx`` (inputs ``input_ids``, ``attention_mask``,
            ``token_type_ids``; output ``(B, T, D)`` states; weights inside) and ``tokenizer.json``.
        window: tokens of text in a window, 1..510.
        stride: tokens from one window's start to the next's, 1..`window`.
        max_rows: most rows of a document, mean included, 1..64.
        threads: windows encoded at the same time. None: ``OMP_NUM_THREADS`` if set, else the number of
            cores that the process may use.
        providers: what computes the graph, as ``["CUDAExecutionProvider"]`` or ``"auto"``. None:
            ``MMRAG_ONNX_PROVIDERS`` where set, else the CPU; see `mmrag.onnx_sessions`.

    Raises:
        ValueError: a setting is out of its range, or onnxruntime does not have a provider.
        FileNotFoundError: a file of the model is missing.

    Example:
        >>> embedder = TextEmbedder("exported/bge-small")
        >>> embedder.encode_query(["Who chairs the board?"])[0].shape
        (1, 384)
    """

    def __init__(
        self,
        model_dir: str | Path,
        *,
        window: int = 256,
        stride: int = 200,
        max_rows: int = 64,
        threads: int | None = None,
        providers: Providers = None,
    ) -> None:
        check_whole("window", window, 1, MAX_WINDOW)
        check_whole("stride", stride, 1, window)
        check_whole("max_rows", max_rows, 1, 64)
        self.model_dir = Path(model_dir)
        self._graph = check_files(self.model_dir, "text embedder")
        self.window = window
        self.stride = stride
        self.max_rows = max_rows
        self.threads = default_threads() if threads is None else check_whole("threads", threads, 1, 1024)
        self.providers = provider_order(providers)
        self._named_providers = providers
        self._lock = new_lock()
        self._encoder: _Encoder | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Reduce to the settings; weights are loaded again on first use."""
        options: dict[str, Any] = {"window": self.window, "stride": self.stride, "max_rows": self.max_rows}
        if self._named_providers is not None:
            options["providers"] = self._named_providers
        return functools.partial(type(self), self.model_dir, **options), ()

    @property
    def name(self) -> str:
        """Return the folder's name, marked as text only."""
        return f"{self.model_dir.resolve().name} (text only)"

    @property
    def fingerprint(self) -> str:
        """Return a digest of weights, tokenizer, window settings and instruction; 32 hexadecimal digits."""
        settings = {
            "algorithm": _ALGORITHM,
            "model": file_digest(self._graph),
            "tokenizer": file_digest(self.model_dir / "tokenizer.json"),
            "instruction": QUERY_INSTRUCTION,
            "window": self.window,
            "stride": self.stride,
            "max_rows": self.max_rows,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Return the width of a vector; read from the graph, which loads it."""
        return self._load().dim

    @property
    def budget(self) -> Budget:
        """Return one row per query and up to `max_rows` rows per document."""
        return Budget(query=1, document=self.max_rows)

    @property
    def modalities(self) -> frozenset[str]:
        """Return text only."""
        return frozenset({"text"})

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """Encode queries as ``(1, dim)`` float32 matrices, L2-normalised, in input order.

        `Query.instruction` replaces `QUERY_INSTRUCTION`; ``""`` for no instruction. `batch_size` changes
        nothing (see the module docstring).

        Raises:
            UnsupportedInputError: a query has an image.
            BadInputError: a query is blank.
            ValueError: an instruction leaves no room in the window.
        """
        check_batch(queries, batch_size, "queries")
        windows: list[Tokens] = []
        bounds = [0]
        for position, query in enumerate(queries):
            windows += self._query_windows(as_query(query, position, self.modalities), position)
            bounds.append(len(windows))
        vectors = self._encode(windows, show_progress, "encoding queries")
        return [_normalise(_mean(vectors[a:b]))[None] for a, b in pairwise(bounds)]

    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """Encode documents as ``(rows, dim)`` float32 matrices, ``1 <= rows <= max_rows``, in input order.

        Row 0 is the mean of the windows, of a length below 1; the others are the windows, L2-normalised, in
        spread order (means of neighbours if there are too many). A text of one window has that row only.
        `batch_size` changes nothing.

        Raises:
            UnsupportedInputError: a `Content` is an image without text.
            TypeError: an input is neither `str`, `Page` nor `Content`.
        """
        check_batch(documents, batch_size, "documents")
        windows: list[Tokens] = []
        bounds = [0]
        for position, document in enumerate(documents):
            windows += self._text_windows(searchable_text(as_document(document, position, self.modalities)))
            bounds.append(len(windows))
        vectors = self._encode(windows, show_progress, "encoding documents")
        return [self._nest(vectors[a:b]) for a, b in pairwise(bounds)]

    def _query_windows(self, query: Query, position: int) -> list[Tokens]:
        instruction = QUERY_INSTRUCTION if query.instruction is None else query.instruction
        encoder = self._load()
        prefix = encoder.tokenize(instruction)
        room = MAX_WINDOW - len(prefix)
        if room < 1:
            raise ValueError(
                f"a query's instruction must have fewer than {MAX_WINDOW} tokens, got {len(prefix)} in query "
                f"{position}. Shorten the instruction."
            )
        return [prefix + part for part in slide(encoder.tokenize(query.text or ""), room, room)]

    def _text_windows(self, text: str) -> list[Tokens]:
        return slide(self._load().tokenize(text), self.window, self.stride)

    def _nest(self, windows: NDArray[np.float32]) -> Matrix:
        """Arrange the mean, then the windows (merged if there are too many) in spread order."""
        if len(windows) == 1:
            return windows.copy()
        mean = _mean(windows)[None]
        room = self.max_rows - 1
        if room == 0:
            return mean
        if len(windows) > room:
            edges = np.linspace(0, len(windows), room + 1).astype(int).tolist()  # neighbours stay together
            windows = np.stack([_mean(windows[a:b]) for a, b in pairwise(edges)])
        return np.concatenate([mean, windows[spread_order(len(windows))]])

    def _encode(self, windows: list[Tokens], show_progress: bool, label: str) -> NDArray[np.float32]:
        if not windows:
            return np.zeros((0, self.dim), dtype=np.float32)
        vectors = side_by_side(self._load().encode, windows, self.threads)
        bar = progress_bar(vectors, total=len(windows), desc=label, unit="window", is_shown=show_progress)
        return np.stack(list(bar))

    def _load(self) -> _Encoder:
        with self._lock:
            if self._encoder is None:
                check_sums(self.model_dir)
                self._encoder = _Encoder(self._graph, self.providers)
            return self._encoder


class _Encoder(OnnxBert):
    """An `OnnxBert` whose output are states, ``(T, D)`` of a text."""

    def encode(self, tokens: Tokens) -> Vector:
        """Return the normalised state of [CLS] of one window, ``(dim,)`` float32."""
        return _normalise(self.run(tokens)[0])


def spread_order(count: int) -> list[int]:
    """Return 0..count-1 in an order coarse to fine: first, last, middle, then the middles of the gaps.

    Among the first r, no gap is longer than about ``count / (r / 2)``.
    """
    if count <= 2:
        return list(range(count))
    order = [0, count - 1]
    gaps = [(0, count - 1)]
    while gaps:
        finer: list[tuple[int, int]] = []
        for low, high in gaps:
            middle = (low + high) // 2
            if middle != low:
                order.append(middle)
                finer += [(low, middle), (middle, high)]
        gaps = finer
    return order


def _normalise(vector: Vector) -> Vector:
    norm = np.float32(np.linalg.norm(vector))
    if norm > 0:
        vector = vector / norm
    return vector


def _mean(vectors: NDArray[np.float32]) -> Vector:
    mean: Vector = vectors[0] if len(vectors) == 1 else vectors.mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)
