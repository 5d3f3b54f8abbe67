"""Retrieved nodes as numbered sources: one page is one source, whatever it was cut into.

A page's words and boxes come from the mmrag index that found it; where the node came from elsewhere
(another vector store, a docstore that was reloaded) the page is read again from the file that its
metadata names, if that is still the same file.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode, MediaResource, Node, NodeWithScore
from PIL import Image

from llama_index.readers.mmrag.nodes import PageWithScore, image_path_of, node_text
from mmrag.documents import DocumentReader, InputDocument, discover
from mmrag.errors import DocumentError
from mmrag.images import load_image
from mmrag.pipeline import DocumentQA
from mmrag.types import Candidate, Citation, Page, Record

logger = logging.getLogger(__name__)

_REMEMBERED = 128
"""Pages kept that had to be read again."""


@dataclass(frozen=True)
class Source:
    """What ``[n]`` in an answer means.

    Attributes:
        number: from 1.
        nodes: as they were retrieved: a page, or the chunks of one.
        candidate: the same for mmrag's answerers.
    """

    number: int
    nodes: tuple[NodeWithScore, ...]
    candidate: Candidate

    def shown(self, multimodal: bool) -> NodeWithScore:
        """The node that a language model reads: number, place, text, and the picture where wanted.

        Raises:
            FileNotFoundError: the picture's file is gone.
        """
        first = self.nodes[0].node
        place = [str(first.metadata[key]) for key in ("file_name",) if key in first.metadata]
        place += [f"page {first.metadata['page_label']}"] if "page_label" in first.metadata else []
        head = f"Source {self.number}" + (f" ({', '.join(place)})" if place else "") + ":"
        text = "\n".join(node_text(node.node) for node in self.nodes)
        path = image_path_of(first) if multimodal else None
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(
                f"the picture of {first.node_id!r} must be a file, got {path!r}. Retrieve again "
                "to have it drawn, or ask with multimodal=False."
            )
        parts: dict[str, Any] = {
            "id_": first.node_id,
            "text_resource": MediaResource(text=f"{head}\n{text}\n"),
            "image_resource": None if path is None else MediaResource(path=Path(path)),
            "metadata": dict(first.metadata),
            "excluded_llm_metadata_keys": list(first.metadata),
            "relationships": dict(first.relationships),
        }
        return NodeWithScore(node=Node(**parts), score=self.nodes[0].score)

    def cited(self, citations: Sequence[Citation]) -> NodeWithScore:
        """A copy of the retrieved node with the evidence in its metadata: ``quote``, and ``bbox`` as JSON."""
        first = self.nodes[0]
        evidence: dict[str, str] = {}
        if citations:
            evidence["quote"] = " … ".join(dict.fromkeys(one.quote for one in citations))
            boxes = list(dict.fromkeys(box for one in citations for box in one.boxes))
            if boxes:
                evidence["bbox"] = json.dumps([list(box) for box in boxes])
        node = first.node.model_copy(
            update={
                "metadata": {**first.node.metadata, **evidence},
                "excluded_embed_metadata_keys": [*first.node.excluded_embed_metadata_keys, *evidence],
                "excluded_llm_metadata_keys": [*first.node.excluded_llm_metadata_keys, *evidence],
            }
        )
        return PageWithScore(node=node, score=first.score)


class Sources:
    """Makes sources of nodes; keeps what had to be read again.

    Args:
        qa: the `DocumentQA` that the nodes come from, where there is one.
    """

    def __init__(self, qa: DocumentQA | None = None) -> None:
        self._qa = qa
        self._lock = threading.Lock()
        self._reader: DocumentReader | None = None
        self._read: OrderedDict[tuple[str, int], Page] = OrderedDict()

    def of(self, nodes: Sequence[NodeWithScore]) -> list[Source]:
        """One source a page, in the order of each page's best node; other nodes stand for themselves."""
        groups: dict[object, list[NodeWithScore]] = {}
        for node in nodes:
            groups.setdefault(_page_key(node.node) or node.node_id, []).append(node)
        return [
            Source(number, tuple(group), self._candidate(group, number))
            for number, group in enumerate(groups.values(), start=1)
        ]

    def close(self) -> None:
        """End the reading processes, if any were started."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _candidate(self, group: Sequence[NodeWithScore], rank: int) -> Candidate:
        first = group[0].node
        page = self._page(first)
        text = "\n".join(node_text(node.node) for node in group)
        record = Record(
            id=first.node_id, matrix=None, text=text if page is None else page.text, metadata={}, page=page
        )
        return Candidate(record, group[0].score or 0.0, rank)

    def _page(self, node: BaseNode) -> Page | None:
        key = _page_key(node)
        if key is None:
            return None
        if self._qa is not None:
            for record in self._qa.index.get([f"{key[0]}#p{key[1]}", node.node_id]):
                if record.page is not None:
                    return record.page
        with self._lock:  # questions asked at the same time share the reader and what it read
            if key in self._read:
                return self._read[key]
            page = self._read_again(node, *key)
            if page is not None:
                self._read[key] = page
                if len(self._read) > _REMEMBERED:
                    self._read.popitem(last=False)
            return page

    def _read_again(self, node: BaseNode, document_id: str, number: int) -> Page | None:
        path = str(node.metadata.get("file_path") or "")
        found = next(iter(discover([path])), None) if path else None
        if not isinstance(found, InputDocument) or found.source.document_id != document_id:
            logger.warning("no boxes for %s: its file %r is gone or changed", node.node_id, path)
            return None
        if self._reader is None:
            self._reader = DocumentReader()
        try:
            page = next(iter(self._reader.pages(found, numbers=[number])))
        except DocumentError as error:
            logger.warning("no boxes for %s: %s", node.node_id, error)
            return None
        return page if isinstance(page, Page) else None


def evidence_picture(node: NodeWithScore | BaseNode) -> Image.Image:
    """The picture of a cited page with its evidence boxed.

    Raises:
        ValueError: the node has no picture.
        FileNotFoundError: the picture's file is gone.
    """
    from mmrag.answer.evidence import draw_evidence

    inner = node.node if isinstance(node, NodeWithScore) else node
    path = image_path_of(inner)
    if path is None:
        raise ValueError(f"a node must have a picture to draw on, got {inner.node_id!r} without one.")
    boxes = [tuple(box) for box in json.loads(inner.metadata.get("bbox", "[]"))]
    return draw_evidence(load_image(path), boxes)


def _page_key(node: BaseNode) -> tuple[str, int] | None:
    """Document and 0-based number of a page node, or of a chunk of one; None for any other node."""
    document_id, number = node.metadata.get("doc_id"), node.metadata.get("page")
    if isinstance(document_id, str) and isinstance(number, int) and not isinstance(number, bool):
        return document_id, number
    return None
