"""Records of the core as documents of the host."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from mmrag.errors import DocumentError
from mmrag.hosts.metadata import flat_metadata
from mmrag.ingest.records import RESERVED_KEYS
from mmrag.pipeline import DocumentQA
from mmrag.types import Box, Candidate, Record

logger = logging.getLogger(__name__)


def to_documents(
    qa: DocumentQA,
    items: Iterable[Candidate | Record],
    *,
    images: bool,
    boxes: Mapping[str, Sequence[Box]] | None = None,
) -> list[Document]:
    """One new document an item, in order.

    Args:
        qa: renders the pages.
        items: candidates give their scores, records do not.
        images: put the path of the page's picture under ``image_path``. A page whose file is gone or
            changed has the reason under ``image_error`` instead: one moved file costs no other page.
        boxes: of evidence by record id, for ``bbox``.
    """
    return [_document(qa, item, images, (boxes or {}).get(item.id)) for item in items]


def _document(
    qa: DocumentQA, item: Candidate | Record, images: bool, boxes: Sequence[Box] | None
) -> Document:
    record = item.record if isinstance(item, Candidate) else item
    path, problem = None, None
    if images and record.page is not None:
        try:
            path = str(qa.picture_path(record.page).absolute())
        except DocumentError as error:
            problem = str(error)
            logger.warning("no picture of %s: %s", record.id, error)
    metadata: dict[str, Any] = flat_metadata(item, image_path=path, bbox=boxes)
    for key, value in record.metadata.items():
        if isinstance(value, tuple) and (record.page is None or key not in RESERVED_KEYS):
            metadata[key] = list(value)  # the caller's own list; only the host's usual keys must be flat
    if problem is not None:
        metadata["image_error"] = problem
    return Document(id=record.id, page_content=record.text, metadata=metadata)
