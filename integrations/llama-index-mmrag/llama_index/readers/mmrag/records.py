"""Between mmrag's records and LlamaIndex's nodes.

A node that came from LlamaIndex is kept whole, as JSON, in its record's metadata, under the host's own keys,
and comes back as it was.
"""

from __future__ import annotations

import json

from llama_index.core.schema import BaseNode, Document, ImageDocument, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from llama_index.readers.mmrag.contents import check_image, embed_text, image_path_of, node_text
from llama_index.readers.mmrag.nodes import page_node
from mmrag.hosts.metadata import flat_metadata
from mmrag.hosts.stores import StoreItem
from mmrag.types import Candidate, Record, Scalar

NODE_ID = "_node_id"
"""The node's id as a key, so that a query's ``node_ids`` are a filter."""

_CONTENT, _TYPE = "_node_content", "_node_type"


def node_of(item: Candidate | Record, image_path: str | None = None) -> BaseNode:
    """Return the node of a record: a page's, the one that was added, or a plain text's."""
    record = item.record if isinstance(item, Candidate) else item
    if _CONTENT in record.metadata:
        return _stored_node(record)
    metadata = flat_metadata(item, image_path=image_path)
    if record.page is not None:
        return page_node(record.id, record.text, metadata, image_path)
    return TextNode(id_=record.id, text=record.text, metadata=metadata)


def store_item(node: BaseNode) -> StoreItem:
    """Return a node as mmrag's index stores it; raises as `record_metadata` does."""
    return StoreItem(
        id=node.node_id,
        text=node_text(node),
        embed_text=embed_text(node),
        image=image_path_of(node),
        embedding=node.embedding,
        metadata=record_metadata(node),
    )


def record_metadata(node: BaseNode) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """Return a node as a record's metadata: its keys for filters, and the whole node without its text.

    A list of scalars becomes a key with several values; keys without a value are left out of what
    filters see and come back with the node.

    Raises:
        ValueError: a value is neither, or the node holds an image that is not a file.
    """
    check_image(node)
    bare = node.model_copy(update={"embedding": None})
    metadata: dict[str, Scalar | tuple[Scalar, ...]] = {NODE_ID: node.node_id}
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
    return metadata_dict_to_node(dict(record.metadata), text=record.text or None)
