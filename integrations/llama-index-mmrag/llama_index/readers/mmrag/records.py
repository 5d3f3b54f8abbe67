"""Between mmrag's records and LlamaIndex's nodes.

A node that came from LlamaIndex is kept whole, as JSON, in its record's metadata, under the host's own keys,
and comes back as it was.
"""

from __future__ import annotations

import json

from llama_index.core.schema import BaseNode, Document, ImageDocument, ImageNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from llama_index.readers.mmrag.contents import check_image, embed_text, node_text, picture_to_embed
from llama_index.readers.mmrag.nodes import PageNode, PageTextNode, page_node
from mmrag import DocumentQA
from mmrag.hosts.metadata import PAGE_ID, flat_metadata
from mmrag.hosts.stores import StoreItem, page_image
from mmrag.types import Candidate, Record, Scalar

NODE_ID = "_node_id"
"""The node's id as a key, so that a query's ``node_ids`` are a filter."""

_CONTENT, _TYPE = "_node_content", "_node_type"

_EMBEDDED = "_node_embedded"
"""True where the host gave a node with its embedding, so that it comes back with one."""


def node_of(item: Candidate | Record, qa: DocumentQA, *, images: bool = True) -> BaseNode:
    """Return the node of a record: a page's, the one that was added, or a plain text's.

    Args:
        item: of a search, or of the index.
        qa: draws the pages.
        images: whether a page's node carries the path of its picture. Where the page cannot be drawn (its
            file has moved, say) the node has the reason under ``image_error`` in its metadata instead.
    """
    record = item.record if isinstance(item, Candidate) else item
    if _CONTENT in record.metadata:
        return _stored_node(record)
    path, problem = page_image(qa, record) if images else (None, None)
    metadata = flat_metadata(item, image_path=path)
    if problem is not None:
        metadata["image_error"] = problem
    if record.page is not None:
        return page_node(record.id, record.text, metadata, path)
    return PageTextNode(id_=record.id, text=record.text, metadata=metadata)


def has_embedding(record: Record) -> bool:
    """Return whether a record's node was added with its embedding."""
    return bool(record.metadata.get(_EMBEDDED, False))


def store_item(node: BaseNode) -> StoreItem:
    """Return a node as mmrag's index stores it; raises as `record_metadata` does."""
    return StoreItem(
        id=node.node_id,
        text=node_text(node),
        embed_text=embed_text(node),
        image=picture_to_embed(node),
        embedding=node.embedding,
        metadata=record_metadata(node),
    )


def record_metadata(node: BaseNode) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """Return a node as a record's metadata: its keys for filters, and the whole node without its text.

    A list of scalars becomes a key with several values; a key of None is no value to filters, as
    in the other host, and comes back with the node.

    Raises:
        ValueError: a value is neither, or the node holds an image that is not a file.
    """
    check_image(node)
    bare = node.model_copy(update={"embedding": None})
    metadata: dict[str, Scalar | tuple[Scalar, ...]] = {NODE_ID: node.node_id}
    if node.embedding is not None:
        metadata[_EMBEDDED] = True
    for key, value in node_to_metadata_dict(bare, remove_text=True).items():
        if isinstance(value, (list, tuple)) and all(isinstance(v, (str, int, float)) for v in value):
            metadata[key] = tuple(value)
        elif isinstance(value, (str, int, float)):
            metadata[key] = value
        elif value is not None:
            raise ValueError(
                f"the metadata of node {node.node_id!r} must be strings, numbers, booleans or lists of them, "
                f"got {value!r} for {key!r}. Write it as JSON text."
            )
    return metadata


def _stored_node(record: Record) -> BaseNode:
    """Return the node as it was added, with its text."""
    content = json.loads(str(record.metadata[_CONTENT]))
    kind = record.metadata[_TYPE]
    if kind in (Document.class_name(), ImageDocument.class_name()):
        content.pop("text", None)
        content.pop("class_name", None)
        node: BaseNode = (ImageDocument if kind == ImageDocument.class_name() else Document)(**content)
        if record.text:
            node.set_content(record.text)
        return node
    if kind == ImageNode.class_name() and PAGE_ID in record.metadata:
        page = PageNode.from_dict(content)
        page.set_content(record.text)
        return page
    return metadata_dict_to_node(dict(record.metadata), text=record.text or None)
