"""Retrieved nodes as numbered sources: one page is one source, whatever it was cut into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_index.core.schema import BaseNode, MediaResource, Node, NodeWithScore
from PIL import Image

from llama_index.readers.mmrag.contents import image_path_of, node_text, to_source_item
from llama_index.readers.mmrag.nodes import PageWithScore, with_metadata
from mmrag.hosts.answers import evidence_image, source_text
from mmrag.hosts.metadata import evidence_metadata
from mmrag.hosts.sources import PageSources, page_groups
from mmrag.types import Candidate, Citation


@dataclass(frozen=True)
class Source:
    """What ``[n]`` in an answer refers to.

    Attributes:
        number: from 1.
        nodes: as they were retrieved: a page, or the chunks of one.
        candidate: the same for mmrag's answerers.
    """

    number: int
    nodes: tuple[NodeWithScore, ...]
    candidate: Candidate

    @property
    def text(self) -> str:
        """Return the text that a language model reads, of all its nodes."""
        return "\n".join(node_text(node.node) for node in self.nodes)

    def prompt_node(self, multimodal: bool) -> NodeWithScore:
        """Return the node that a language model reads: number, origin, text, and the picture if wanted.

        Raises:
            FileNotFoundError: the picture's file is gone.
        """
        first = self.nodes[0].node
        path = image_path_of(first) if multimodal else None
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(
                f"the picture of {first.node_id!r} must be a file, got {path!r}. Retrieve again "
                "to have it drawn, or ask with multimodal=False."
            )
        node = Node(
            id_=first.node_id,
            text_resource=MediaResource(text=source_text(self.number, first.metadata, self.text)),
            image_resource=None if path is None else MediaResource(path=Path(path)),
            metadata=dict(first.metadata),
            excluded_llm_metadata_keys=list(first.metadata),
            relationships=dict(first.relationships),
        )
        return NodeWithScore(node=node, score=self.nodes[0].score)

    def with_evidence(self, citations: Sequence[Citation]) -> NodeWithScore:
        """Return a copy of the retrieved node with ``quote``, and ``bbox`` as JSON, in its metadata."""
        best = self.nodes[0]
        return PageWithScore(node=with_metadata(best.node, evidence_metadata(citations)), score=best.score)


def number_sources(pages: PageSources, nodes: Sequence[NodeWithScore]) -> list[Source]:
    """Return one source per page, in the order of each page's best node; other nodes are their own source."""
    items = [to_source_item(node) for node in nodes]
    return [
        Source(number, tuple(nodes[n] for n in group), pages.candidate([items[n] for n in group], number))
        for number, group in enumerate(page_groups(items), start=1)
    ]


def evidence_picture(node: NodeWithScore | BaseNode) -> Image.Image:
    """Return the picture of a cited page with its evidence boxed.

    Raises:
        ValueError: the node has no picture.
        FileNotFoundError: the picture's file is gone.

    Example:
        >>> engine = MMRagCitationQueryEngine(MMRagRetriever("my-index"))
        >>> answer = engine.query("Who chairs the board?")
        >>> evidence_picture(answer.source_nodes[0]).save("evidence.png")
    """
    page = node.node if isinstance(node, NodeWithScore) else node
    path = image_path_of(page)
    if path is None:
        raise ValueError(f"a node must have a picture to draw on, got {page.node_id!r} without one.")
    return evidence_image(path, page.metadata)
