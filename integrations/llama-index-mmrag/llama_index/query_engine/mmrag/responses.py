"""Answers of mmrag, and of LlamaIndex's synthesizers, as responses whose ``[n]`` is a page with evidence."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.schema import NodeWithScore
from llama_index.core.types import TokenAsyncGen, TokenGen

from llama_index.query_engine.mmrag.sources import Source
from llama_index.readers.mmrag.contents import node_text
from mmrag.hosts.answers import cite_sources, cited_marks, source_citations
from mmrag.types import Answer, Citation

NOTHING_FOUND = "No page was found for this question."


def quoting_response(
    answer: Answer | None, sources: Sequence[Source], extra: Sequence[NodeWithScore]
) -> Response:
    """Return an answer of mmrag as a response, its ``[n]`` counting sources; None is `NOTHING_FOUND`."""
    candidates = [source.candidate for source in sources]
    citations = [] if answer is None else source_citations(answer, candidates)
    nodes = [s.with_evidence(c) for s, c in zip(sources, citations, strict=False)] + list(extra)
    text = NOTHING_FOUND if answer is None else cite_sources(answer, candidates)
    return Response(text, nodes, {node.node_id: node.metadata for node in nodes})


def cited_nodes(
    response: RESPONSE_TYPE | str, nodes: Sequence[NodeWithScore] | None = None
) -> list[NodeWithScore]:
    """Return the source nodes that an answer's ``[n]`` name, in the order in which they are named first.

    Args:
        response: of `MMRagCitationQueryEngine`; of a stream its text, when it has come. An answer with fields
            names sources in its lists of numbers, and by ``[n]`` in its texts.
        nodes: the source nodes; None: those of the response.

    Raises:
        ValueError: a text, or a stream that has not been read, without `nodes`.

    Example:
        >>> pages = [NodeWithScore(node=TextNode(id_=id, text=id)) for id in ("a", "b")]
        >>> [page.node_id for page in cited_nodes("Twenty days [2].", pages)]
        ['b']
    """
    text = response if isinstance(response, str) else _text_of(response)
    if not isinstance(response, str):
        nodes = response.source_nodes if nodes is None else nodes
    if text is None or nodes is None:
        raise ValueError(
            "cited_nodes takes a response that has its text, or a text and nodes, got no text or nodes."
        )
    marks, _ = cited_marks(text, [node_text(node.node) for node in nodes])
    numbers = dict.fromkeys(number for mark in marks for number in mark.numbers)
    return [nodes[number - 1] for number in numbers]


def _text_of(response: RESPONSE_TYPE) -> str | None:
    """Return the text of an answer, of one with fields as JSON, whose lists are marks; None if not there."""
    if isinstance(response, PydanticResponse):
        return str(response)
    return response.response if isinstance(response, Response) else response.response_txt


def stream_pieces(response: Response, *, asynchronous: bool = False) -> RESPONSE_TYPE:
    """Return the same response in pieces, a line each."""
    pieces = (response.response or "").splitlines(keepends=True)
    if asynchronous:
        return AsyncStreamingResponse(_apieces(pieces), response.source_nodes, response.metadata)
    return StreamingResponse(_pieces(pieces), response.source_nodes, response.metadata)


def with_sources(
    response: RESPONSE_TYPE,
    sources: Sequence[Source],
    evidence: Sequence[Sequence[Citation]],
    extra: Sequence[NodeWithScore],
) -> RESPONSE_TYPE:
    """Return a synthesizer's response with the retrieved nodes in place of those made for the prompt.

    Evidence is kept on the pages that the text cites; on all of them while the text is still streaming.
    """
    numbers = {source.number for source in sources}
    if isinstance(response, (Response, PydanticResponse)):
        texts = [source.text for source in sources]
        cited, _ = cited_marks(_text_of(response) or "", texts)
        numbers = {number for mark in cited for number in mark.numbers}
    nodes = [
        source.with_evidence(citations if source.number in numbers else ())
        for source, citations in zip(sources, evidence, strict=True)
    ]
    response.source_nodes = [*nodes, *extra]
    response.metadata = {node.node_id: node.metadata for node in response.source_nodes}
    return response


def _pieces(pieces: Sequence[str]) -> TokenGen:
    yield from pieces


async def _apieces(pieces: Sequence[str]) -> TokenAsyncGen:
    for piece in pieces:
        yield piece
