"""Texts and images of the caller's own: each is a record under the caller's id, and belongs to no file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from mmrag.documents.inputs import InputDocument, discover
from mmrag.errors import DocumentError
from mmrag.index.base import Index
from mmrag.ingest.embedding import encode, image_pixels, images_wanted, refuse_skipped
from mmrag.ingest.records import checked_context, checked_metadata, context_text, page_record
from mmrag.types import Page, Record, Scalar

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader
    from mmrag.embedders.base import Embedder

Metadata = Sequence[Mapping[str, Scalar]]
T = TypeVar("T")

MOST_SHOWN = 120
"""Letters of an input in a message."""


def add_texts(
    index: Index,
    embedder: Embedder,
    texts: Sequence[str],
    ids: Sequence[str] | None,
    metadata: Metadata | None,
    context: Sequence[str] = (),
) -> list[str]:
    """Add texts; `mmrag.DocumentQA.add_texts` documents the arguments."""
    texts = _as_list("texts", texts)
    ids, metadata = _ids_and_metadata(len(texts), ids, metadata)
    keys = checked_context(context, metadata)
    matrices = encode(embedder, texts)
    refuse_skipped(matrices)
    rows = zip(ids, matrices, texts, metadata, strict=True)
    index.add(
        [
            Record(id=id, matrix=matrix, text=text, metadata=dict(data), context=context_text(data, keys))
            for id, matrix, text, data in rows
        ]
    )
    return list(ids)


def add_images(
    index: Index,
    embedder: Embedder,
    reader: DocumentReader,
    images: Sequence[Any],
    ids: Sequence[str] | None,
    metadata: Metadata | None,
    context: Sequence[str] = (),
) -> list[str]:
    """Add images, all or none; `mmrag.DocumentQA.add_images` documents the arguments.

    A record's page has the record's id as its document id, too: such an image goes with its record, not with
    a file of the same content.
    """
    images = _as_list("images", images)
    ids, metadata = _ids_and_metadata(len(images), ids, metadata)
    own_metadata = [checked_metadata(values) for values in metadata]
    keys = checked_context(context, own_metadata)
    documents = [_image_document(image) for image in images]
    pages = [
        replace(_only_page(reader, embedder, document), id=id, document_id=id)
        for id, document in zip(ids, documents, strict=True)
    ]
    matrices = encode(embedder, pages)
    refuse_skipped(matrices)
    for id, document in zip(ids, documents, strict=True):
        if document.data is not None:
            index.put_blob(id, document.data)
    index.add(
        [
            page_record(
                page,
                matrix,
                (page.source.path or page.source.name,),
                values,
                context_text(values, keys, name=page.source.name),
            )
            for page, matrix, values in zip(pages, matrices, own_metadata, strict=True)
        ]
    )
    return list(ids)


def _ids_and_metadata(
    count: int, ids: Sequence[str] | None, metadata: Metadata | None
) -> tuple[Sequence[str], Metadata]:
    """Return one id and one mapping for each of `count` records."""
    ids = [str(uuid.uuid4()) for _ in range(count)] if ids is None else _as_list("ids", ids)
    metadata = [{}] * count if metadata is None else [values or {} for values in metadata]
    if len(ids) != count or len(metadata) != count:
        raise ValueError(
            f"ids and metadata must be one per record, got {len(ids)} ids and {len(metadata)} metadata "
            f"for {count} records."
        )
    return ids, metadata


def _as_list(name: str, values: Iterable[T]) -> list[T]:
    """Return the values of an argument as a list.

    Raises:
        TypeError: it is one text, path or image, of which each letter would become a record.
    """
    if isinstance(values, (str, bytes, bytearray, os.PathLike)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list, got one {type(values).__name__}. Write [{name[:-1]}].")
    return list(values)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _image_document(image: Any) -> InputDocument:  # noqa: ANN401  what `discover` takes
    item = next(iter(discover([image])), None)
    if isinstance(item, InputDocument) and item.source.kind == "image":
        return item
    reason = "it is no image" if item is None or isinstance(item, InputDocument) else item.reason
    raise DocumentError(f"an image to add must be readable, got {_short(image)}: {reason}")


def _only_page(reader: DocumentReader, embedder: Embedder, document: InputDocument) -> Page:
    """Read the first page, which is all that a record holds of an image of several frames."""
    pixels, images = image_pixels(embedder), images_wanted(embedder)
    item = next(iter(reader.pages(document, numbers=[0], image_pixels=pixels, images=images)))
    if isinstance(item, Page):
        return item
    raise DocumentError(f"an image to add must be readable, got {document.source.name!r}: {item.reason}")
