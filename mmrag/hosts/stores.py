"""A host's vector store over `DocumentQA`: opening, adding, searching by text or by vector."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrag.embedders.base import Content, Embedder
from mmrag.errors import DocumentError, check_whole
from mmrag.hosts.embedders import check_width, is_query_vector
from mmrag.hosts.inputs import metadata_values
from mmrag.images import load_image
from mmrag.index import MemoryIndex
from mmrag.index.filters import MAX_VALUES
from mmrag.pipeline import DocumentQA
from mmrag.retriever import Retriever
from mmrag.scoring import DEFAULT_WEIGHTS
from mmrag.search_request import CHANNELS as CHANNELS  # adapters name it as a default
from mmrag.types import Budget, Candidate, Matrix, Record, Scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmrag.hosts.items import ImageSource
    from mmrag.index import Index
    from mmrag.index.filters import Filter

logger = logging.getLogger(__name__)

DIVERSE_FACTOR = 4
"""Candidates for each one to be chosen, where those that differ are chosen, as LlamaIndex has it."""

NEAR = 0.9
"""Cosine of two vectors of one text by one model, stored in fewer bits or made in another batch, at least."""

HYBRID_POOL = 100
"""Candidates ranked where vectors and words each bring in a number of their own."""


def open_store(
    embedder: Embedder,
    path: str | Path | None = None,
    *,
    index: Index | None = None,
    read_only: bool = False,
    **options: Any,  # noqa: ANN401  those of DocumentQA, which checks them
) -> DocumentQA:
    """Open the index in a folder, made if it is not there; without a folder use `index`, or memory.

    Raises:
        ValueError: `path` and `index` are both given.
        IndexMismatchError: another embedder made the index.
        IndexLockedError: another process holds it for writing.
    """
    if path is not None and index is not None:
        raise ValueError("persist_directory and index must not both be given, got both. Pass one.")
    if path is not None:
        return DocumentQA.open(path, embedder=embedder, read_only=read_only, **options)
    if index is None:
        settings = {name: options.pop(name, None) for name in ("row_type", "rows")}
        index = MemoryIndex.for_embedder(embedder, **settings)
    return DocumentQA(index, embedder=embedder, **options)


# ---- adding ----


@dataclass(frozen=True, slots=True)
class StoreItem:
    """An item to store, as a host gives it.

    Attributes:
        id: the host's id.
        text: its own words, which are stored and searched.
        embed_text: the text to encode; hosts add metadata to it or leave some out.
        image: path of its image; None without one.
        embedding: the vector that the host computed, of which only the width is checked.
        metadata: flat, for filters.
    """

    id: str
    text: str
    embed_text: str
    image: ImageSource | None = None
    embedding: Sequence[float] | None = None
    metadata: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)


def add_items(qa: DocumentQA, items: Sequence[StoreItem]) -> list[str]:
    """Encode items and add them, or replace those of the same id: all of the call or nothing.

    A warning is logged where a text comes with a vector that is not this embedder's: it is not kept.

    Raises:
        ValueError: an item has neither text nor an image, or its metadata is not flat.
        IndexMismatchError: an embedding is another model's.
        FileNotFoundError: an image is gone.
        UnsupportedInputError: an image without text, and the embedder reads text only.
    """
    if not items:
        return []
    matrices = qa.embedder.encode_document([_content(qa.embedder, item) for item in items])
    _warn_of_vectors(qa.embedder, items, matrices)
    qa.index.add(
        [
            Record(id=item.id, matrix=matrix, text=item.text, metadata=dict(item.metadata))
            for item, matrix in zip(items, matrices, strict=True)
        ]
    )
    return [item.id for item in items]


def _warn_of_vectors(embedder: Embedder, items: Sequence[StoreItem], matrices: Sequence[Matrix]) -> None:
    """Log a warning where a host's vectors have the width of the embedder's and another model made them.

    Questions would be compared with vectors that their own model did not make, and nothing else would tell.
    """
    foreign = [
        item.id
        for item, matrix in zip(items, matrices, strict=True)
        if item.embedding is not None and item.image is None and not _is_near(matrix[0], item.embedding)
    ]
    if foreign:
        logger.warning(
            "the embeddings of %d of %d nodes (%r first) are not those of %r, which the store encodes with: "
            "they are not kept. Pass embed_model=vector_store.embed_model to the index.",
            len(foreign),
            len(items),
            foreign[0],
            embedder.name,
        )


def _is_near(row: Matrix, vector: Sequence[float]) -> bool:
    """Check whether two vectors are of one text and one model, whatever their lengths and batches."""
    first, second = row.astype(np.float64), np.asarray(vector, dtype=np.float64)
    return float(first @ second) >= NEAR * float(np.linalg.norm(first) * np.linalg.norm(second))


def _content(embedder: Embedder, item: StoreItem) -> Content:
    if item.embedding is not None:
        check_width(embedder, item.embedding, f"the embedding of node {item.id!r}")
    has_text = bool(item.embed_text.strip())
    if not has_text and item.image is None:
        raise ValueError(f"a node must have text or an image, got {item.id!r} without either. Leave it out.")
    if item.image is None or (has_text and "image" not in embedder.modalities):
        return Content(text=item.embed_text)
    return Content(text=item.embed_text, image=load_image(item.image))


def add_texts(
    qa: DocumentQA,
    texts: Sequence[str],
    ids: Sequence[str] | None = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
) -> list[str]:
    """Add texts under their ids; an id that is there already is replaced. All of the call or nothing.

    Raises:
        ValueError: the lists differ in length, an id is repeated or is that of a page, or metadata is nested.
    """
    for record in qa.index.get(ids or ()):
        if record.page is not None and record.id == record.page.source.page_id(record.page.number):
            raise ValueError(
                f"a text's id must not be that of a page in the store, got {record.id!r} of "
                f"{record.page.source.name}. The page is there already, with its picture; to store other "
                "text use another id."
            )
    return qa.add_texts(texts, ids=ids, metadata=metadata)


def add_files(qa: DocumentQA, inputs: Any, metadata: Mapping[str, Any] | None = None) -> list[str]:  # noqa: ANN401
    """Add the pages of files and return their ids, those that were there already included.

    Args:
        qa: the store.
        inputs: whatever `DocumentQA.add` takes.
        metadata: written on every page.

    Raises:
        DocumentError: none of the files could be read. Files and pages left out beside others that could be
            read are logged as warnings.
    """
    report = qa.add(inputs, metadata=None if metadata is None else metadata_values(metadata))
    reasons = [f"{item.name}: {item.reason}" for item in report.skipped]
    names = {*report.added, *report.replaced, *report.reread, *report.renamed, *report.unchanged}
    if not names:
        raise DocumentError("; ".join(reasons) or f"no document in {inputs!r}. Name a file or folder.")
    for reason in reasons:
        logger.warning("left out %s", reason)
    documents = [entry.id for entry in qa.index.documents() if names & set(entry.names)]
    return qa.index.ids({"doc_id": {"$in": documents}})


# ---- searching ----


def check_k(k: int) -> int:
    """Return `k` if it is a whole number of at least 1."""
    return check_whole("k", k)


def search_vector(
    index: Index, vector: Sequence[float] | Matrix, k: int, budget: Budget | None, filter: Filter | None
) -> list[Candidate]:
    """Return the best `k` for one vector; without words, vectors alone search."""
    query = np.asarray([vector], dtype=np.float32)  # (1, D)
    hits = index.search_vectors(query, k=k, budget=budget, filter=filter)
    records = {record.id: record for record in index.get([hit.id for hit in hits])}
    return [
        Candidate(records[hit.id], hit.score, rank, {"vectors": hit.score})
        for rank, hit in enumerate(hits, start=1)
    ]


def search_text_or_vector(
    qa: DocumentQA,
    text: str,
    vector: Sequence[float] | None,
    *,
    k: int,
    budget: Budget | None = None,
    filter: Filter | None = None,
    channels: Sequence[str] = CHANNELS,
    alpha: float | None = None,
) -> Sequence[Candidate]:
    """Search by the question's words and nested vectors, or by a vector that is not the question's own.

    Args:
        qa: the store.
        text: the question; may be empty if there is a vector.
        vector: the host's vector of the question, or of another text (HyDE, an average).
        k: most candidates.
        budget: rows used on each side.
        filter: on the metadata.
        channels: what searches by words.
        alpha: weight of the vectors, 0 to 1, against the words'; None: mmrag's own weights.

    Raises:
        ValueError: neither a text nor a vector, or `alpha` out of range.
        IndexMismatchError: another model made the vector.
    """
    if not text and vector is None:
        raise ValueError("a query must have words or an embedding, got neither. Give query_str.")
    retriever = Retriever(qa.index, qa.embedder, weights=_channel_weights(alpha))
    if vector is not None:
        check_width(qa.embedder, vector, "the query's embedding")
        if not (text and is_query_vector(qa.embedder, text, vector)):
            return search_vector(qa.index, vector, k, budget, filter)
    return retriever.search(text, k=k, budget=budget, filter=filter, channels=channels)


def _channel_weights(alpha: float | None) -> dict[str, float] | None:
    if alpha is None:
        return None
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 (words) to 1 (vectors), got {alpha!r}.")
    total = sum(DEFAULT_WEIGHTS.values())  # so that the score of the document weighs as much as ever
    return {"vectors": total * alpha, "text": total * (1 - alpha)}


def cosine_options(embedder: Embedder, budget: Budget | None) -> dict[str, Any]:
    """Return search options under which a score is the cosine of the question's first vector."""
    return {"channels": ("vectors",), "budget": Budget(1, (budget or embedder.budget).document)}


def single_vectors(index: Index, ids: Iterable[str]) -> tuple[list[Record], list[NDArray[np.float32]]]:
    """Return the records of these ids that have vectors, and the first vector of each."""
    records = [record for record in index.get(list(ids), matrices=True) if record.matrix is not None]
    return records, [record.matrix[0].astype(np.float32) for record in records if record.matrix is not None]


def page_image(qa: DocumentQA, record: Record) -> tuple[str | None, str | None]:
    """Return the path of a page's picture, drawn on first use, and the reason if it cannot be drawn.

    A file that moved costs its own pages their pictures, and no other page anything. Nor does a folder that
    cannot be written cost more than the pictures.
    """
    if record.page is None:
        return None, None
    try:
        return str(qa.picture_path(record.page).absolute()), None
    except (DocumentError, OSError) as error:
        logger.warning("no picture of %s: %s", record.id, error)
        return None, str(error)


def values_with(index: Index, key: str, words: object, *, ignore_case: bool) -> list[str]:
    """Return the distinct strings under a metadata key that hold `words`, for a filter of substrings.

    Raises:
        ValueError: `words` is no text, or more values hold it than a filter takes.
    """
    if not isinstance(words, str):
        raise ValueError(
            f"words to look for under {key!r} must be text, got {words!r}. Use '==' for numbers."
        )
    pattern = words.casefold() if ignore_case else words
    values = [value for value in index.values(key) if isinstance(value, str)]
    matches = [value for value in values if pattern in (value.casefold() if ignore_case else value)]
    if len(matches) > MAX_VALUES:
        raise ValueError(
            f"at most {MAX_VALUES} values of {key!r} may hold the words of a filter, got {len(matches)} with "
            f"{words!r}. Use more words."
        )
    return matches


def restrict_pool(ranking: Sequence[Candidate], *, vectors: int, words: int) -> list[Candidate]:
    """Return those among the best so many by vectors, or by words, in their order.

    Args:
        ranking: of a search in both channels.
        vectors: how many the vectors bring in.
        words: how many the words bring in; one without any of the words is not among them.
    """
    pools = []
    for channel, most in (("vectors", vectors), ("text", words)):
        scores = {candidate.id: candidate.scores.get(channel, 0.0) for candidate in ranking}
        best = sorted(scores, key=lambda id: -scores[id])[:most]
        pools.append({id for id in best if channel == "vectors" or scores[id] > 0})
    return [candidate for candidate in ranking if candidate.id in pools[0] | pools[1]]


def warn_of_filter_keys(keys: Iterable[str], index: Index) -> None:
    """Log a warning of filter keys that no record has, with the nearest known one.

    For a search that found nothing: a key that is written wrongly looks the same.
    """
    for key in keys if index.count() else ():
        if not index.values(key):
            names = sorted({k for record in index.get(index.ids()[:200]) for k in record.metadata})
            names = [name for name in names if not name.startswith("_")]
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)
            logger.warning(
                "nothing was found: no record has the filter's key %r. Did you mean %r? Known: %s.",
                key,
                near[0] if near else "",
                ", ".join(names),
            )
