"""Pages as LlamaIndex's nodes.

A page is one node: its text, and its picture by path (bytes would be lost whenever LlamaIndex writes a
node down). It is a text node, since much of LlamaIndex asks for one, and an image node if it has a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import BaseContentBlock, ImageBlock
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    MediaResource,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
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


class PageNode(ImageNode):
    """A page with its picture: one node of both.

    LlamaIndex's own image node shows a model the picture alone. Its ``hash`` looks at text and picture, so
    that a page found by two questions is one node for `QueryFusionRetriever`, whatever its scores are.
    Written down and read again it is an `ImageNode` of the same text and path.
    """

    @property
    def text_resource(self) -> MediaResource:
        """Return the text as a `Node` has it."""
        return MediaResource(text=self.text)

    @property
    def image_resource(self) -> MediaResource | None:
        """Return the picture as a `Node` has it."""
        if self.image_path is None:
            return None
        return MediaResource(path=Path(self.image_path), mimetype=self.image_mimetype)

    def get_content_blocks(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> list[BaseContentBlock]:
        """Return the text and the picture as a model is shown them."""
        blocks = TextNode.get_content_blocks(self, metadata_mode)
        if self.image_path is not None:
            blocks.append(ImageBlock(path=Path(self.image_path), image_mimetype=self.image_mimetype))
        return blocks


class PageTextNode(TextNode):
    """A page without its picture, or a plain text of an index; its ``hash`` leaves the scores out."""

    @property
    def image_resource(self) -> None:
        """Return None: it has no picture."""
        return None

    @property
    def hash(self) -> str:
        """Return a digest of id and text, which stays the same whatever question found the node."""
        return hashlib.sha256(f"{self.id_}-{self.text}".encode("utf-8", "surrogatepass")).hexdigest()


def page_node(
    id: str, text: str, metadata: Mapping[str, Any], image_path: str | None
) -> PageNode | PageTextNode:
    """Return the node of a page in an index: text and picture in one; its source is the file.

    Args:
        id: mmrag's page id.
        text: of the page.
        metadata: flat, see `mmrag.hosts.metadata.flat_metadata`.
        image_path: of the page's picture.
    """
    file = RelatedNodeInfo(node_id=str(metadata["doc_id"]), node_type=ObjectType.DOCUMENT)
    parts: dict[str, Any] = {**_parts(id, metadata), "text": text if text.strip() else NO_TEXT}
    parts["relationships"] = {NodeRelationship.SOURCE: file}
    if image_path is None:
        return PageTextNode(**parts)
    return PageNode(**parts, image_path=image_path, image_mimetype="image/png")


def page_document(id: str, text: str, metadata: Mapping[str, Any], image_path: str | None) -> Document:
    """Return a page as readers give it; arguments as of `page_node`."""
    picture = None if image_path is None else MediaResource(path=Path(image_path), mimetype="image/png")
    resource = MediaResource(text=text if text.strip() else NO_TEXT)
    return Document(**_parts(id, metadata), text_resource=resource, image_resource=picture)


def _parts(id: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id_": id,
        "metadata": dict(metadata),
        "excluded_embed_metadata_keys": list(metadata),
        "excluded_llm_metadata_keys": [key for key in metadata if key not in SHOWN_TO_MODELS],
    }


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
