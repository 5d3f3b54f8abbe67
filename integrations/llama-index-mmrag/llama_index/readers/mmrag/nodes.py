"""Between mmrag's records and LlamaIndex's nodes.

A page is one node: its text, and its picture by path (bytes would be lost whenever LlamaIndex writes a
node down). A node that came from LlamaIndex is kept whole, as JSON, in its record's metadata, under the
host's own keys, and comes back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from mmrag.hosts.metadata import flat_metadata
from mmrag.types import Candidate, Record, Scalar

NO_TEXT = "[page without text]"
"""LlamaIndex drops a node whose text is empty, so a page without text says so."""

SHOWN_TO_MODELS = ("file_name", "page_label")
"""Keys of a page that a language model sees; an embedder sees none, as in mmrag's own indexes."""

NODE_ID = "_node_id"
"""The node's id as a key, so that a query's ``node_ids`` are a filter."""

_CONTENT, _TYPE = "_node_content", "_node_type"


class PageWithScore(NodeWithScore):
    """A scored node of any kind that has ``text``: LlamaIndex's own has it for text nodes only.

    Its `RetrieverEvaluator`, and many a user, ask for it.
    """

    @property
    def text(self) -> str:
        """The node's own words."""
        return node_text(self.node)

    def get_text(self) -> str:
        """The node's own words."""
        return node_text(self.node)


def page_node(
    id: str,
    text: str,
    metadata: Mapping[str, Any],
    image_path: str | None,
    *,
    as_document: bool = False,
) -> Node:
    """The node of a page: text and picture in one.

    Args:
        id: mmrag's page id.
        text: of the page.
        metadata: flat, see `mmrag.hosts.metadata.flat_metadata`.
        image_path: of the page's picture.
        as_document: a `Document` as readers give; else a `Node` whose source is the file.
    """
    parts: dict[str, Any] = {
        "id_": id,
        "text_resource": MediaResource(text=text if text.strip() else NO_TEXT),
        "image_resource": None
        if image_path is None
        else MediaResource(path=Path(image_path), mimetype="image/png"),
        "metadata": dict(metadata),
        "excluded_embed_metadata_keys": list(metadata),
        "excluded_llm_metadata_keys": [key for key in metadata if key not in SHOWN_TO_MODELS],
    }
    if as_document:
        return Document(**parts)
    file = RelatedNodeInfo(node_id=str(metadata["doc_id"]), node_type=ObjectType.DOCUMENT)
    return Node(**parts, relationships={NodeRelationship.SOURCE: file})


def node_of(item: Candidate | Record, image_path: str | None = None) -> BaseNode:
    """The node of a record: a page's, the one that was added, or a plain text's."""
    record = item.record if isinstance(item, Candidate) else item
    if _CONTENT in record.metadata:
        return _stored_node(record)
    metadata = flat_metadata(item, image_path=image_path)
    if record.page is not None:
        return page_node(record.id, record.text, metadata, image_path)
    return TextNode(id_=record.id, text=record.text, metadata=metadata)


def record_metadata(node: BaseNode) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """A node as a record's metadata: its own keys for filters, and the whole node without its text.

    A list of scalars becomes a key with several values; keys without a value are left out of what
    filters see and come back with the node.

    Raises:
        ValueError: a value is neither, or the node holds an image that is not a file.
    """
    _check_image(node)
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


def embed_text(node: BaseNode) -> str:
    """What is embedded of a node: LlamaIndex's rule, so excluded metadata stays out."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def node_text(node: BaseNode) -> str:
    """The node's own words."""
    return node.get_content(metadata_mode=MetadataMode.NONE)


def image_path_of(node: BaseNode) -> str | None:
    """Path of a node's picture: its own, or the one its metadata names; None without one."""
    if isinstance(node, ImageNode) and node.image_path:
        return str(node.image_path)
    if isinstance(node, Node) and node.image_resource is not None and node.image_resource.path is not None:
        return str(node.image_resource.path)
    named = node.metadata.get("image_path")
    return str(named) if named else None


def image_of(node: BaseNode) -> str | None:
    """Return the node's picture in a form `mmrag.images.load_image` takes (path, data URI), or None."""
    held: str | bytes | None = node.image if isinstance(node, ImageNode) else None
    address = node.image_url if isinstance(node, ImageNode) else None
    if isinstance(node, Node) and node.image_resource is not None:
        held = node.image_resource.data
        address = None if node.image_resource.url is None else str(node.image_resource.url)
    if held:
        return f"data:image;base64,{held.decode('ascii') if isinstance(held, bytes) else held}"
    return image_path_of(node) or address


def _check_image(node: BaseNode) -> None:
    held: str | bytes | None = node.image if isinstance(node, ImageNode) else None
    if isinstance(node, Node) and node.image_resource is not None:
        held = node.image_resource.data
    if held:
        raise ValueError(
            f"node {node.node_id!r} must name its image by path, got {len(held)} bytes of it: LlamaIndex "
            "loses them when it writes a node. Save the image and give MediaResource(path=...)."
        )


def _stored_node(record: Record) -> BaseNode:
    """The node as it was added, with its text."""
    content = json.loads(str(record.metadata[_CONTENT]))
    kind = record.metadata[_TYPE]
    if kind in (Document.class_name(), ImageDocument.class_name()):
        content.pop("text", None)
        content.pop("class_name", None)
        made: BaseNode = (ImageDocument if kind == ImageDocument.class_name() else Document)(**content)
        if record.text:
            made.set_content(record.text)
        return made
    return metadata_dict_to_node(dict(record.metadata), text=record.text or None)
