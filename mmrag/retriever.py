"""Query to `Ranking`: encode, ask the index channel by channel, fuse.

The pool is the union of each channel's best `depth`. Every record of it gets a score in every channel:
what only the text channel found is scored exactly through `Index.score`; what only the vectors found has
the BM25 of a longer text list, and 0 (it shares no term) where it is not in that either. See
`mmrag.fusion` for how the scores become one.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence

from mmrag.embedders.base import Embedder
from mmrag.errors import IndexMismatchError, UnsupportedInputError
from mmrag.index.base import Index
from mmrag.index.filters import Filter
from mmrag.scoring import DEFAULT_WEIGHTS, check_weights, fuse
from mmrag.types import Budget, Candidate, Hit, Matrix, Query, Ranking

CHANNELS = ("vectors", "text")

DEFAULT_DEPTH = 100

TEXT_REACH = 10
"""The text channel is read this many times deeper than the pool, for the BM25 of what vectors found."""


class Retriever:
    """An index and the embedder that made it, searched together. Safe to share between threads.

    Args:
        index: any home.
        embedder: must have the fingerprint that the index was made with.
        weights: of the channels in the fused score. None: vectors 2, text 1.
        depth: records each channel puts into the pool; `search` raises it to `k` where `k` is larger.

    Raises:
        IndexMismatchError: another embedder made the index.
        ValueError: a weight is missing, negative or of an unknown channel, or depth is below 1.
    """

    def __init__(
        self,
        index: Index,
        embedder: Embedder,
        *,
        weights: Mapping[str, float] | None = None,
        depth: int = DEFAULT_DEPTH,
    ) -> None:
        self.index = index
        self.embedder = embedder
        self.weights = dict(DEFAULT_WEIGHTS if weights is None else weights)
        self.depth = _at_least_one("depth", depth)
        if set(self.weights) != set(CHANNELS):
            raise ValueError(f"weights must name the channels {CHANNELS}, got {sorted(self.weights)}.")
        check_weights(self.weights)
        self._nested = bool(getattr(embedder, "nested", True))
        manifest = index.manifest
        if manifest.fingerprint != embedder.fingerprint:
            raise IndexMismatchError(
                f"the index was made by {manifest.embedder!r} (fingerprint {manifest.fingerprint}, "
                f"dim {manifest.dim}), this embedder is {embedder.name!r} (fingerprint "
                f"{embedder.fingerprint}, dim {embedder.dim}). Open it with the embedder that made it, "
                "or index the files again."
            )

    def search(
        self,
        query: str | Query,
        *,
        k: int = 10,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
        channels: Sequence[str] = CHANNELS,
    ) -> Ranking:
        """The best `k` records, best first, ties by id.

        Args:
            query: words, or a `Query` with an image where the embedder takes images. Without words
                only the vectors search.
            k: most candidates, at least 1.
            budget: rows used on each side; more than the embedder has means all it has. None: all. An
                embedder whose rows are no nested prefix (``nested`` is False) takes no smaller one, and
                is searched exactly.
            filter: see `mmrag.index.filters`; the same in both channels.
            exact: score every record by its vectors instead of the survivors of a first stage.
            channels: ``("vectors", "text")``, or one of them.

        Returns:
            Candidates with ``scores`` by stage: ``"vectors"`` (late interaction), ``"text"`` (BM25,
            0 without a shared term) and ``"fused"``, which orders. With one channel, that channel's
            score orders and is the only one.

        Raises:
            ValueError: `k` below 1, an empty query, unknown or no channels, a budget below all rows where
                the rows are not nested.
            UnsupportedInputError: an image that no channel asked for can use.
        """
        asked = self._check(query, k, channels, budget)
        matrix = None
        if "vectors" in channels:
            matrix = self.embedder.encode_query([asked])[0]
        return self._rank(
            asked, matrix, k=k, budget=budget, filter=filter, exact=exact, text="text" in channels
        )

    async def asearch(
        self,
        query: str | Query,
        *,
        k: int = 10,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
        channels: Sequence[str] = CHANNELS,
    ) -> Ranking:
        """`search` without blocking the event loop."""
        asked = self._check(query, k, channels, budget)
        matrix = None
        if "vectors" in channels:
            matrix = (await self.embedder.aencode_query([asked]))[0]
        rank = functools.partial(
            self._rank, k=k, budget=budget, filter=filter, exact=exact, text="text" in channels
        )
        return await asyncio.to_thread(rank, asked, matrix)

    def _check(self, query: str | Query, k: int, channels: Sequence[str], budget: Budget | None) -> Query:
        """Everything that can be refused before any work is."""
        _at_least_one("k", k)
        self._clamp(budget)
        if isinstance(channels, str) or not channels or not set(channels) <= set(CHANNELS):
            raise ValueError(f"channels must be one or both of {CHANNELS} in a list, got {channels!r}.")
        asked = Query(text=query) if isinstance(query, str) else query
        if not isinstance(asked, Query):
            raise TypeError(f"a query must be str or Query, got {type(query).__name__}.")
        if asked.image is not None and "vectors" in channels and "image" not in self.embedder.modalities:
            raise UnsupportedInputError(
                f"{self.embedder.name!r} takes {', '.join(sorted(self.embedder.modalities))} only, got a "
                "query with an image. Ask in words, or index with an embedder that takes images."
            )
        if not _words(asked) and "vectors" not in channels:
            raise UnsupportedInputError(
                "the text channel searches words, got a query of an image alone and channels "
                f"{tuple(channels)!r}. Add the channel 'vectors'."
            )
        return asked

    def _rank(
        self,
        query: Query,
        matrix: Matrix | None,
        *,
        k: int,
        budget: Budget | None,
        filter: Filter | None,
        exact: bool,
        text: bool,
    ) -> Ranking:
        depth = max(self.depth, k)
        words = _words(query) if text else ""
        budget = self._clamp(budget)
        exact = exact or not self._nested
        vectors: list[Hit] = []
        if matrix is not None:
            vectors = self.index.search_vectors(matrix, k=depth, budget=budget, filter=filter, exact=exact)
        matches: list[Hit] = []
        if words:
            reach = depth if matrix is None else depth * TEXT_REACH
            matches = self.index.search_text(words, k=reach, filter=filter)
        if matrix is None:
            return self._ranking(query, {"text": _by_id(matches)}, k)
        channels = {"vectors": _by_id(vectors)}
        if words:
            found = channels["vectors"]
            missing = [hit.id for hit in matches[:depth] if hit.id not in found]
            found.update(_by_id(self.index.score(matrix, missing, budget=budget) if missing else []))
            bm25 = _by_id(matches)
            channels["text"] = {key: bm25.get(key, 0.0) for key in found}
        return self._ranking(query, channels, k)

    def _clamp(self, budget: Budget | None) -> Budget | None:
        if budget is None:
            return None
        most = self.embedder.budget
        if not self._nested:
            if budget.query < most.query or budget.document < most.document:
                raise ValueError(
                    f"budget must be left out for {self.embedder.name!r} (its vectors are no nested prefix: "
                    f"fewer of them are another document), got ({budget.query}, {budget.document}) of "
                    f"({most.query}, {most.document})."
                )
            return None
        return Budget(min(budget.query, most.query), min(budget.document, most.document))

    def _ranking(self, query: Query, channels: Mapping[str, Mapping[str, float]], k: int) -> Ranking:
        stages = dict(channels)
        if len(stages) > 1:
            stages["fused"] = fuse(stages, self.weights)
        final = list(stages.values())[-1]
        best = sorted(final, key=lambda key: (-final[key], key))[:k]
        records = self.index.get(best)  # one deleted meanwhile is not there
        return Ranking(
            query=query,
            candidates=tuple(
                Candidate(
                    record=record,
                    score=final[record.id],
                    rank=rank,
                    scores={stage: scores[record.id] for stage, scores in stages.items()},
                )
                for rank, record in enumerate(records, start=1)
            ),
        )


def _words(query: Query) -> str:
    return (query.text or "").strip()


def _by_id(hits: Sequence[Hit]) -> dict[str, float]:
    return {hit.id: float(hit.score) for hit in hits}


def _at_least_one(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return value
