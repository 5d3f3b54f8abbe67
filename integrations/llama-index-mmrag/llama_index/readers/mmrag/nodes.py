"""Pages as LlamaIndex's nodes.

A page is one node: its text, and its picture by path (bytes would be lost whenever LlamaIndex writes a
node down).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    MediaResource,
    Node,
    NodeRelationship,
    NodeWithScore,
    ObjectType,
    RelatedNodeInfo,
)

from llama_index.readers.mmrag.contents import (
    NO_TEXT,
    node_text,
)

SHOWN_TO_MODELS = ("file_name", "page_label", "section")
"""Keys of a page or block that a language model sees; an embedder sees none, as in mmrag's own indexes."""


class PageWithScore(NodeWithScore):
    """A scored node of any kind that has ``text``: LlamaIndex's own has it for text nodes only.

    Its `RetrieverEvaluator`, and many a user, ask for it.
    """

    @property
    def text(self) -> str:
        """Return the node's own words."""
        return node_text(self.node)

    def get_text(self) -> str:
        """Return the node's own words."""
        return node_text(self.node)


def page_node(
    id: str,
    text: str,
    metadata: Mapping[str, Any],
    image_path: str | None,
    *,
    as_document: bool = False,
) -> Node:
    """Return the node of a page: text and picture in one.

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


def with_metadata(node: BaseNode, values: Mapping[str, Any]) -> BaseNode:
    """Return a copy of the node with these values in its metadata, for people and not for models."""
    new = [key for key in values if key not in node.metadata]
    return node.model_copy(
        update={
            "metadata": {**node.metadata, **values},
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, *new],
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, *new],
        }
    )
