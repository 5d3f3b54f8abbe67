"""Models for `mteb`: any of our embedders, single and multi-vector, and any of our rerankers.

    import mteb
    from mmrag import MiniEmbedder
    from mmrag.leaderboards.mteb import MTEBEmbedder

    mteb.evaluate(MTEBEmbedder(MiniEmbedder()), mteb.get_benchmark("ViDoRe(v3)").tasks)

Both classes are what mteb calls a search model (`mteb.SearchProtocol`: ``index``, then ``search``), so mteb
runs them unpatched and computes its own figures. A search model sees whole tables, which a multi-vector model
and a reranker that compares candidates need; mteb's other interfaces hand out vectors of one row, or pairs.
Written for mteb 2.26.

A document's text is its title, a space and its text, a query's its text, a space and its instruction, as mteb
itself joins them. An embedder that reads text alone reads that of documents that have text and a picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mmrag.embedders.base import Content, Embedder
from mmrag.errors import MissingExtraError
from mmrag.rerank.protocol import Reranker, ScoreSettings
from mmrag.scoring import maxsim_ragged, take_budget
from mmrag.types import Budget, Candidate, Matrix, Page, Query, Ranking, Record, Source

if TYPE_CHECKING:
    from PIL.Image import Image

Dataset: TypeAlias = Any
"""A `datasets.Dataset`: a slice of it is a dictionary of columns."""
Results: TypeAlias = "dict[str, dict[str, float]]"
"""By query id, the score of each document id."""

SLICE = 64
"""Rows with their pictures in memory at a time."""


class MTEBEmbedder:
    """An embedder as a search model of mteb: exact late interaction over all documents.

    The documents' rows stay in memory, ``rows x dim`` float32 numbers each, until another corpus comes; tasks
    of several languages over the same documents embed them once.

    Args:
        embedder: any of ours; `mmrag.load_embedder` opens a checkpoint.
        budget: rows used of a query and of a document; ``Budget(1, 1)`` is the single vector. None: all.
        instruction: what queries are to find. None: the embedder's own.
        name: for mteb's results, ``"organisation/model"``. None: ``"mmrag/"`` and the embedder's.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        budget: Budget | None = None,
        instruction: str | None = None,
        name: str | None = None,
    ) -> None:
        self.embedder = embedder
        self.budget = embedder.budget if budget is None else budget
        self.instruction = instruction
        self.name = name or f"mmrag/{PurePath(embedder.name).name}"
        self._corpus: tuple[object, ...] = ()
        self._ids: list[str] = []
        self._documents: list[Matrix] = []

    @property
    def mteb_model_meta(self) -> Any:  # noqa: ANN401  (mteb.models.ModelMeta)
        """What mteb writes into its results: name, fingerprint and budget, modalities."""
        return _meta(
            self.name,
            f"{self.embedder.fingerprint[:12]}-{self.budget.query}-{self.budget.document}",
            modalities=sorted(self.embedder.modalities, reverse=True),
            model_type=["dense" if self.budget.query == 1 else "late-interaction"],
            embed_dim=self.embedder.dim,
        )

    def index(
        self,
        corpus: Dataset,
        *,
        task_metadata: Any,  # noqa: ANN401
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Mapping[str, Any],
        num_proc: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Embed the documents, unless they are those of the call before."""
        ids = [str(number) for number in corpus["id"]]
        identity = (task_metadata.name, hf_split, *ids)
        if identity == self._corpus:
            return
        self._corpus, self._ids, self._documents = (), ids, []
        for rows in _slices(corpus):
            matrices = self.embedder.encode_document(
                [document_of(row) for row in rows], batch_size=int(encode_kwargs.get("batch_size", 32))
            )
            self._documents += [np.array(take_budget(matrix, self.budget.document)) for matrix in matrices]
        self._corpus = identity

    def search(
        self,
        queries: Dataset,
        *,
        task_metadata: Any,  # noqa: ANN401
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: Mapping[str, Any],
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        num_proc: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Results:
        """Score the documents, or a query's candidates, and return the best `top_k` of each query.

        Raises:
            ValueError: `index` was not called.
        """
        if not self._ids:
            raise ValueError("a corpus must be indexed before a search, got none. Call index first.")
        positions = {number: position for position, number in enumerate(self._ids)}
        results: Results = {}
        for rows in _slices(queries):
            matrices = self.embedder.encode_query(
                [query_of(row, self.instruction) for row in rows],
                batch_size=int(encode_kwargs.get("batch_size", 32)),
            )
            for row, matrix in zip(rows, matrices, strict=True):
                number = str(row["id"])
                among: Sequence[int] = range(len(self._ids))
                if top_ranked is not None:
                    among = [positions[candidate] for candidate in top_ranked.get(number, ())]
                results[number] = self._best(matrix, among, top_k)
        return results

    def _best(self, query: Matrix, among: Sequence[int], top_k: int) -> dict[str, float]:
        if not among:
            return {}
        scores = maxsim_ragged(
            np.array(take_budget(query, self.budget.query)), [self._documents[position] for position in among]
        )
        # of tied documents any may be the last that is kept: take the first of them, as they were given
        order = np.argsort(-scores, kind="stable")[:top_k]
        return {self._ids[among[position]]: float(scores[position]) for position in order}


class MTEBReranker:
    """A reranker as a search model of mteb, for tasks with a fixed first stage, like those over ViDoRe v3.

    Every candidate of a query is judged. Ties keep the order of the first stage, which has no scores, so the
    verdicts alone decide. mteb is given ranks for scores: the first of n has n, the last has 1.

    Args:
        reranker: `mmrag.LocalReranker`, `mmrag.ThinkReranker`, or anything that reranks a `Ranking`.
        images: whether the reranker is shown pictures; False for one that reads text.
        name: for mteb's results. None: ``"mmrag/"`` and the class's name.
    """

    def __init__(self, reranker: Reranker, *, images: bool = True, name: str | None = None) -> None:
        self.reranker = reranker
        self.images = images
        self.name = name or f"mmrag/{type(reranker).__name__}"
        self._corpus: Dataset | None = None

    @property
    def mteb_model_meta(self) -> Any:  # noqa: ANN401  (mteb.models.ModelMeta)
        """What mteb writes into its results: name and a digest of the settings."""
        settings = self.reranker.score_settings() if isinstance(self.reranker, ScoreSettings) else {}
        text = json.dumps(settings, sort_keys=True, default=str)
        return _meta(
            self.name,
            hashlib.sha256(text.encode()).hexdigest()[:12],
            modalities=["text", "image"] if self.images else ["text"],
            model_type=["cross-encoder"],
        )

    def index(
        self,
        corpus: Dataset,
        *,
        task_metadata: Any,  # noqa: ANN401
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Mapping[str, Any],
        num_proc: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Keep the documents, which are opened as they are judged."""
        self._corpus = corpus

    def search(
        self,
        queries: Dataset,
        *,
        task_metadata: Any,  # noqa: ANN401
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: Mapping[str, Any],
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        num_proc: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Results:
        """Rerank every query's candidates.

        Raises:
            ValueError: the task has no first stage, or `index` was not called.
        """
        if self._corpus is None or top_ranked is None:
            raise ValueError(
                "a reranker must have a corpus and the candidates of a first stage, got "
                f"{'no corpus' if self._corpus is None else 'no candidates'}. Choose a reranking task."
            )
        positions = {str(number): position for position, number in enumerate(self._corpus["id"])}
        results: Results = {}
        for rows in _slices(queries):
            for row in rows:
                number = str(row["id"])
                candidates = tuple(
                    self._candidate(self._corpus[positions[name]], rank)
                    for rank, name in enumerate(top_ranked.get(number, ()), 1)
                )
                ranking = Ranking(query_of(row, None), candidates)
                order = self.reranker.rerank(ranking, top_n=len(candidates)) if candidates else ranking
                results[number] = {
                    candidate.record.id: float(len(candidates) - position)
                    for position, candidate in enumerate(order)
                    if position < top_k
                }
        return results

    def _candidate(self, row: Mapping[str, Any], rank: int) -> Candidate:
        number, document = str(row["id"]), document_of(row)
        page = None
        if self.images and document.image is not None:
            page = _page(number, document.text, document.image)
        return Candidate(Record(number, None, document.text, page=page), 0.0, rank)


def document_of(row: Mapping[str, Any]) -> Content:
    """Return a row of a corpus as a document: title and text, picture."""
    text = " ".join(filter(None, (str(row.get(name) or "").strip() for name in ("title", "text"))))
    return Content(text=text, image=_rgb(row.get("image")))


def query_of(row: Mapping[str, Any], instruction: str | None) -> Query:
    """Return a row of queries as a query; turns of a conversation are joined by ``"; "``."""
    text = row.get("text") or ""
    if isinstance(text, list):
        turns = (
            f"{turn['role']}: {turn['content']}" if isinstance(turn, dict) else str(turn) for turn in text
        )
        text = "; ".join(turns)
    text = " ".join(filter(None, (str(text), row.get("instruction"))))
    return Query(text=text or None, image=_rgb(row.get("image")), instruction=instruction)


def _slices(table: Dataset) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a table, some at a time."""
    for start in range(0, len(table), SLICE):
        columns: Mapping[str, Sequence[Any]] = table[start : start + SLICE]
        names = list(columns)
        yield [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _rgb(image: Image | None) -> Image | None:
    return image if image is None or image.mode == "RGB" else image.convert("RGB")


def _page(number: str, text: str, image: Image) -> Page:
    source = Source(sha256=hashlib.sha256(image.tobytes()).hexdigest(), kind="image", name=number)
    size = (float(image.width), float(image.height))
    return Page(number, source.document_id, 0, "1", text, (), size, source, image=image)


def _meta(name: str, revision: str, **fields: object) -> Any:  # noqa: ANN401
    try:
        from mteb.models import ModelMeta
    except ImportError as error:
        raise MissingExtraError("The model for mteb", "mteb") from error
    return ModelMeta.create_empty({"name": name, "revision": revision, **fields})
