"""Vectors of sentences, for answers that quote."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from mmrag.embedders.base import Embedder


class SentenceEncoder:
    """Encodes sentences by mmrag-mini's encoder, or by the index's embedder if that reads text only.

    A large multimodal model takes seconds for the hundreds of sentences of five pages, and is trained for
    pages, not for sentences.

    Args:
        embedder: the embedder of the index.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._encode: Callable[[Sequence[str], str], list[Any]] | None = None
        self._lock = threading.Lock()  # two threads that encode first at the same time load one model

    def __call__(self, texts: Sequence[str], side: str) -> list[Any]:
        """Return one vector ``(dim,)`` per sentence.

        Args:
            texts: the sentences, or questions.
            side: ``"query"`` or ``"document"``.
        """
        with self._lock:
            if self._encode is None:
                self._encode = self._choose()
        return self._encode(texts, side)

    def _choose(self) -> Callable[[Sequence[str], str], list[Any]]:
        from mmrag.embedders.mini.embedder import MiniEmbedder

        if isinstance(self.embedder, MiniEmbedder):
            return self.embedder.encode_sentence
        return MiniEmbedder().encode_sentence if "image" in self.embedder.modalities else self._first_rows

    def _first_rows(self, texts: Sequence[str], side: str) -> list[Any]:
        encode = self.embedder.encode_query if side == "query" else self.embedder.encode_document
        return [matrix[0] for matrix in encode(texts)]
