"""Query to `Ranking`: encode, search the index channel by channel, fuse, see which document is named.

The pool is the union of each channel's best `depth`. Every record of it gets a score in every channel: a
record that only the text channel returned is scored exactly through `Index.score`; one that only the vectors
returned has the BM25 of a longer text list, or 0 (no shared term) if it is not in that either.
`mmrag.scoring.fuse` makes one score of both.

To that comes how the question names the record's document (`mmrag.index.identity`), as it is and not
standardised: a question that names none adds next to nothing. The documents that it names best put pages into
the pool themselves, since among thousands of pages alike none of theirs may be in either channel's best.

Before the channels are fused, a part of the scores beside it is added to each: those of the pages just before
and after in the same document (`mmrag.scoring.neighbours`).

Where a question refers to a page ("on page 12", "in Figure 3"), the pages of the pool's documents that are so
numbered or have such a caption come into the pool, and before others (`mmrag.page_references`).
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmrag.embedders.base import Embedder
from mmrag.errors import IndexMismatchError, UnsupportedInputError, check_whole
from mmrag.index.base import Index
from mmrag.index.filters import Filter
from mmrag.index.identity import DocumentNames
from mmrag.page_references import page_references, referenced_pages
from mmrag.scoring import DEFAULT_WEIGHTS, check_weights, fuse, vector_share
from mmrag.scoring.neighbours import add_neighbours, page_neighbours
from mmrag.search_request import CHANNELS, SearchRequest, as_query
from mmrag.tracing.spans import span
from mmrag.types import Budget, Candidate, Hit, Matrix, Query, Ranking

DEFAULT_DEPTH = 100

DOCUMENT_WEIGHT = 2.0
"""Of the score of a record's document, in nats, beside standard deviations of the fused score."""

NEIGHBOUR_WEIGHT = 0.3
"""Of the neighbours' mean, by row 0, beside a page's own score by vectors; each of 1 at most."""

NEIGHBOUR_TEXT = 1 / 3
"""The weight of the neighbours' mean BM25 beside the page's own, as a share of that by vectors."""

NEIGHBOUR_PAGES = 50
"""Best pages of the pool whose neighbours are looked at, or as many as are asked for."""

REFERENCE_WEIGHT = 6.0
"""Of a page that the question refers to, in standard deviations of the fused score: more than words bring."""

REFERENCE_DOCUMENTS = 64
"""Documents, of the pool's best pages, that are looked through for what a question refers to."""

NAMED_SHARE = 0.5
"""Share of the best document's score from which documents put pages of their own into the pool."""

MOST_NAMED = 8
"""Documents that put pages of their own into the pool."""

TEXT_REACH = 10
"""The text channel is read this many times deeper than the pool, for the BM25 of what vectors return."""


class Retriever:
    """An index and the embedder that built it, searched together. Safe to share between threads.

    Args:
        index: any implementation.
        embedder: must have the fingerprint that the index was built with.
        weights: of the channels in the fused score, used as they are. None: text 1, vectors 1.5 and less
            beside words that are sure and with few rows (`mmrag.scoring.vector_share`).
        depth: records each channel puts into the pool; `search` raises it to `k` if `k` is larger.
        document_weight: of the score of a record's document; 0 leaves documents out of it.
        neighbour_weight: of the pages beside a page, see `mmrag.scoring.neighbours`; 0 leaves them out of it.
        reference_weight: of the pages that a question refers to, see `mmrag.page_references`; 0 leaves them
            where they are.

    Raises:
        IndexMismatchError: another embedder built the index.
        ValueError: a weight is missing, negative or of an unknown channel, or depth is below 1.

    Example:
        >>> retriever = Retriever(qa.index, qa.embedder, document_weight=0)
        >>> retriever.search("Who chairs the board?", k=1)[0].page.number
        1
    """

    def __init__(
        self,
        index: Index,
        embedder: Embedder,
        *,
        weights: Mapping[str, float] | None = None,
        depth: int = DEFAULT_DEPTH,
        document_weight: float = DOCUMENT_WEIGHT,
        neighbour_weight: float = NEIGHBOUR_WEIGHT,
        reference_weight: float = REFERENCE_WEIGHT,
    ) -> None:
        self.index = index
        self.embedder = embedder
        self.weights = dict(DEFAULT_WEIGHTS if weights is None else weights)
        self._are_default = weights is None
        self.depth = check_whole("depth", depth)
        if set(self.weights) != set(CHANNELS):
            raise ValueError(f"weights must name the channels {CHANNELS}, got {sorted(self.weights)}.")
        check_weights(self.weights)
        self.document_weight = _check_weight("document_weight", document_weight)
        self.neighbour_weight = _check_weight("neighbour_weight", neighbour_weight)
        self.reference_weight = _check_weight("reference_weight", reference_weight)
        self._nested = bool(getattr(embedder, "nested", True))
        self._nested_query = bool(getattr(embedder, "nested_query", self._nested))
        manifest = index.manifest
        if manifest.fingerprint != embedder.fingerprint:
            raise IndexMismatchError(
                f"the index was built by {manifest.embedder!r} (fingerprint {manifest.fingerprint}, "
                f"dim {manifest.dim}), this embedder is {embedder.name!r} (fingerprint "
                f"{embedder.fingerprint}, dim {embedder.dim}). Pass the embedder that built it, or write "
                "an index for this one: mmrag reembed OLD NEW"
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
        """Return the best `k` records, best first, ties by id.

        Args:
            query: words, or a `Query` with an image if the embedder takes images. Without words only the
                vectors search.
            k: most candidates, at least 1.
            budget: rows used on each side; more than the embedder has means all it has. None: all. An
                embedder whose rows are no nested prefix (``nested`` is False) takes no smaller one, and
                is searched exactly.
            filter: see `mmrag.index.filters`; the same in both channels.
            exact: score every record by its vectors instead of the survivors of a first stage.
            channels: ``("vectors", "text")``, or one of them.

        Returns:
            Candidates with ``scores`` by stage: ``"vectors"`` (late interaction), ``"text"`` (BM25,
            0 without a shared term), ``"document"`` (how the question names the record's document, in nats,
            0 where it does not), where the question refers to pages of the pool ``"reference"`` (1 for such
            a page, 2 for one by its number and by a caption, 0 for others), and ``"fused"``, which orders.
            With one channel, that channel's score orders and is the only one. All but ``"fused"`` are of
            the record and the query alone; that one is relative to the pool of this search, so that it
            depends on the filter and compares candidates of one ranking only. The pages beside a page count
            in it; those that do not pass the filter by their vectors alone.

        Raises:
            ValueError: `k` below 1, an empty query or one beyond `LONGEST_QUERY`, unknown or no channels, or
                a budget below all rows if the rows are not nested.
            UnsupportedInputError: an image that no channel of the search can use.
        """
        return self.run(SearchRequest(as_query(query), k, budget, filter, exact, channels))

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
        """Search without blocking the event loop; see `search`."""
        return await self.arun(SearchRequest(as_query(query), k, budget, filter, exact, channels))

    def run(self, request: SearchRequest) -> Ranking:
        """Search as a request says; see `search`."""
        self._check(request)
        with span("mmrag.retrieve", "RETRIEVER") as trace:
            trace.question(request.query)
            matrix = None
            if request.has_vectors:
                with span("mmrag.embed", "EMBEDDING") as step:
                    step.embedding(self.embedder.name, [request.text])
                    matrix = self.embedder.encode_query([request.searched_query])[0]
            return trace.documents(self._rank(request, matrix), k=request.k, channels=request.channels)

    async def arun(self, request: SearchRequest) -> Ranking:
        """Search as a request says, without blocking the event loop."""
        self._check(request)
        with span("mmrag.retrieve", "RETRIEVER") as trace:
            trace.question(request.query)
            matrix = None
            if request.has_vectors:
                with span("mmrag.embed", "EMBEDDING") as step:
                    step.embedding(self.embedder.name, [request.text])
                    matrix = (await self.embedder.aencode_query([request.searched_query]))[0]
            ranking = await asyncio.to_thread(self._rank, request, matrix)
            return trace.documents(ranking, k=request.k, channels=request.channels)

    def _check(self, request: SearchRequest) -> None:
        """Refuse before any work what this embedder cannot search."""
        self._largest_budget(request.budget)
        has_image = request.query.image is not None
        if has_image and request.has_vectors and "image" not in self.embedder.modalities:
            raise UnsupportedInputError(
                f"{self.embedder.name!r} takes {', '.join(sorted(self.embedder.modalities))} only, got a "
                "query with an image. Ask in words, or index with an embedder that takes images."
            )

    def _largest_budget(self, budget: Budget | None) -> Budget | None:
        """Return `budget` within the rows that the embedder has, or None for all rows."""
        if budget is None:
            return None
        most = self.embedder.budget
        if self._nested:
            query = min(budget.query, most.query) if self._nested_query else most.query
            return Budget(query, min(budget.document, most.document))
        if budget.query < most.query or budget.document < most.document:
            raise ValueError(
                f"budget must be left out for {self.embedder.name!r} (its vectors are no nested prefix: "
                f"fewer of them are another document), got ({budget.query}, {budget.document}) of "
                f"({most.query}, {most.document})."
            )
        return None

    def _rank(self, request: SearchRequest, matrix: Matrix | None) -> Ranking:
        """Search the channels; `matrix` is the query's, ``(rows, dim)``, or None without vectors."""
        depth = max(self.depth, request.k)
        if matrix is None:
            matches = self.index.search_text(request.words, k=depth, filter=request.filter)
            return self._ranking(request, {"text": _by_id(matches)})
        budget = self._largest_budget(request.budget)
        exact = request.exact or not self._nested_query  # a first stage looks at one row of the query
        hits = self.index.search_vectors(matrix, k=depth, budget=budget, filter=request.filter, exact=exact)
        channels = {"vectors": _by_id(hits)}
        if request.words:
            names = self._names(request)
            matches = self.index.search_text(
                request.words, k=depth * TEXT_REACH, filter=request.filter, without=names.family_terms
            )
            named_hits, named_ids = self._named_pages(request, names, matrix, budget)
            channels["vectors"] |= _by_id(named_hits)
            pool = [hit.id for hit in matches[:depth]] + named_ids
            by_turns = itertools.chain.from_iterable(itertools.zip_longest(channels["vectors"], pool))
            references = self._references(request, [*named_ids, *(id for id in by_turns if id is not None)])
            pool += references
            ids = [id for id in dict.fromkeys(pool) if id not in channels["vectors"]]
            if ids:
                channels["vectors"] |= _by_id(self.index.score(matrix, ids, budget=budget))
            bm25 = _by_id(matches)
            channels["text"] = {id: bm25.get(id, 0.0) for id in channels["vectors"]}
            documents = self.index.document_ids(list(channels["vectors"])) if names.scores else {}
            channels["document"] = {
                id: names.scores.get(documents.get(id, ""), 0.0) for id in channels["vectors"]
            }
            if references:
                channels["reference"] = {id: references.get(id, 0.0) for id in channels["vectors"]}
            channels["fused"] = self._fuse(request, channels, matrix, bm25)
        return self._ranking(request, channels)

    def _names(self, request: SearchRequest) -> DocumentNames:
        """Return the documents that the question names; none where they do not count."""
        return self.index.name_documents(request.words) if self.document_weight else DocumentNames({})

    def _named_pages(
        self, request: SearchRequest, names: DocumentNames, matrix: Matrix, budget: Budget | None
    ) -> tuple[list[Hit], list[str]]:
        """Return the best pages of the documents that the question names best: by vectors, ids by words."""
        documents = names.best(MOST_NAMED, NAMED_SHARE)
        if not documents:
            return [], []
        filter: Filter = {"doc_id": {"$in": documents}}
        if request.filter is not None:
            filter = {"$and": [request.filter, filter]}
        hits = self.index.search_vectors(matrix, k=self.depth, budget=budget, filter=filter)
        matches = self.index.search_text(
            request.words, k=self.depth, filter=filter, without=names.family_terms
        )
        return hits, [hit.id for hit in matches]

    def _references(self, request: SearchRequest, pool: Sequence[str]) -> dict[str, float]:
        """Return the pages that the question refers to, of the documents of these pages, by id."""
        references = page_references(request.words) if self.reference_weight else None
        if not references:
            return {}
        documents = self.index.document_ids(pool)
        best = list(dict.fromkeys(documents[id] for id in pool if id in documents))[:REFERENCE_DOCUMENTS]
        return referenced_pages(self.index, references, best, request.filter)

    def _pool_weights(self, text: Mapping[str, float], budget: Budget | None) -> Mapping[str, float]:
        """Return the weights of the channels in the pool with these scores by words."""
        if not self._are_default:
            return self.weights
        most, used = self.embedder.budget, self._largest_budget(budget)
        full = min(most.query, most.document)
        rows = full if used is None else min(used.query, used.document, full)
        return {**self.weights, "vectors": self.weights["vectors"] * vector_share(text, rows / full)}

    def _fuse(
        self,
        request: SearchRequest,
        channels: Mapping[str, Mapping[str, float]],
        matrix: Matrix,
        bm25: Mapping[str, float],
    ) -> dict[str, float]:
        """Compute the score that orders the pool.

        Args:
            request: the search.
            channels: scores of the pool's records.
            matrix: of the query.
            bm25: of the pool's records and others.
        """
        weights = self._pool_weights(channels["text"], request.budget)
        pool = {channel: channels[channel] for channel in CHANNELS}

        def add_up(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
            sums = fuse(scores, weights)
            for channel, weight in (
                ("document", self.document_weight),
                ("reference", self.reference_weight),
            ):
                for id, score in channels.get(channel, {}).items():
                    sums[id] += weight * score
            return sums

        sums = add_up(pool)
        if not self.neighbour_weight:
            return sums
        best = sorted(sums, key=lambda id: (-sums[id], id))[: max(NEIGHBOUR_PAGES, request.k)]
        neighbours = page_neighbours(best)
        if not any(neighbours.values()):
            return sums
        ids = list(dict.fromkeys([*pool["vectors"], *itertools.chain.from_iterable(neighbours.values())]))
        used = self._largest_budget(request.budget)
        lengths = np.linalg.norm(matrix if used is None else matrix[: used.query], axis=1)  # (Tq,)
        present: Iterable[str]
        if self._nested and self._nested_query and lengths[0] > 0:
            first = self.index.score(matrix[:1], ids, budget=Budget(1, 1))
            cosines = {hit.id: float(hit.score) / float(lengths[0]) for hit in first}
            shares = {id: score / float(lengths.sum()) for id, score in pool["vectors"].items()}
            pool["vectors"] = add_neighbours(shares, cosines, neighbours, self.neighbour_weight)
            present = cosines
        else:  # rows that are no nested prefix have no row 0 that stands for a page
            present = self.index.document_ids(ids)
        words = {id: bm25.get(id, 0.0) for id in present}
        weight = self.neighbour_weight * NEIGHBOUR_TEXT
        pool["text"] = add_neighbours(pool["text"], words, neighbours, weight)
        return add_up(pool)

    def _ranking(self, request: SearchRequest, channels: Mapping[str, Mapping[str, float]]) -> Ranking:
        """Order the pool by the last stage's scores and fetch the best records."""
        stages = dict(channels)
        final = list(stages.values())[-1]
        best = sorted(final, key=lambda id: (-final[id], id))[: request.k]
        records = self.index.get(best)  # without those deleted meanwhile
        candidates = [
            Candidate(
                record=record,
                score=final[record.id],
                rank=rank,
                scores={stage: scores[record.id] for stage, scores in stages.items()},
            )
            for rank, record in enumerate(records, start=1)
        ]
        return Ranking(query=request.query, candidates=tuple(candidates))


def _check_weight(name: str, weight: float) -> float:
    """Refuse a weight that is no number of at least 0."""
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"{name} must be a number of at least 0, got {weight!r}.")
    return weight


def _by_id(hits: Sequence[Hit]) -> dict[str, float]:
    return {hit.id: float(hit.score) for hit in hits}
