"""The text and the picture of LlamaIndex's nodes, in the forms that mmrag reads."""

from __future__ import annotations

from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, Node, NodeWithScore

from mmrag.hosts.items import HostItem

NO_TEXT = "[page without text]"
"""Text of a page without any: LlamaIndex drops a node whose text is empty."""


def to_item(node: NodeWithScore) -> HostItem:
    """Return a scored node as rerankers of the core read it."""
    text = embed_text(node.node)
    return HostItem(
        text="" if text == NO_TEXT else text,
        image=image_of(node.node),
        score=node.score,
        id=node.node.node_id,
        metadata=node.node.metadata,
    )


def to_source_item(node: NodeWithScore) -> HostItem:
    """Return a scored node as answerers of the core read it: its own words, without metadata in them."""
    inner = node.node
    return HostItem(node_text(inner), None, node.score, inner.node_id, inner.metadata)


def embed_text(node: BaseNode) -> str:
    """Return the text of a node to embed, by LlamaIndex's rule: excluded metadata stays out."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def node_text(node: BaseNode) -> str:
    """Return the node's own words."""
    return node.get_content(metadata_mode=MetadataMode.NONE)


def own_image_path(node: BaseNode) -> str | None:
    """Return the path of the picture that a node holds itself; None without one."""
    if isinstance(node, ImageNode) and node.image_path:
        return str(node.image_path)
    if isinstance(node, Node) and node.image_resource is not None and node.image_resource.path is not None:
        return str(node.image_resource.path)
    return None


def image_path_of(node: BaseNode) -> str | None:
    """Return the path of a node's picture: its own, or the one its metadata names; None without one."""
    return own_image_path(node) or (str(node.metadata.get("image_path") or "") or None)


def picture_to_embed(node: BaseNode) -> str | None:
    """Return the path of the picture that a node is embedded by, beside its text.

    A chunk of a page names the picture of the whole page, which is no picture of the chunk: it counts only
    where the chunk has no words.
    """
    text = node_text(node).strip()
    return own_image_path(node) if text and text != NO_TEXT else image_path_of(node)


def image_of(node: BaseNode) -> str | None:
    """Return the node's picture in a form `mmrag.images.load_image` takes (path, data URI), or None."""
    data: str | bytes | None = node.image if isinstance(node, ImageNode) else None
    address = node.image_url if isinstance(node, ImageNode) else None
    if isinstance(node, Node) and node.image_resource is not None:
        data = node.image_resource.data
        address = None if node.image_resource.url is None else str(node.image_resource.url)
    if data:
        return f"data:image;base64,{data.decode('ascii') if isinstance(data, bytes) else data}"
    return image_path_of(node) or address


def check_image(node: BaseNode) -> None:
    """Refuse a node that holds its image as bytes.

    Raises:
        ValueError: LlamaIndex would lose the bytes when it writes the node.
    """
    data: str | bytes | None = node.image if isinstance(node, ImageNode) else None
    if isinstance(node, Node) and node.image_resource is not None:
        data = node.image_resource.data
    if data:
        raise ValueError(
            f"node {node.node_id!r} must name its image by path, got {len(data)} bytes of it: LlamaIndex "
            "loses them when it writes a node. Save the image and give MediaResource(path=...)."
        )
