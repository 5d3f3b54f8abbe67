"""The steps of `MMRagCitationQueryEngine`: retrieve, write the answer, say where it is proven."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.synthesis import SynthesizeEndEvent, SynthesizeStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index.query_engine.mmrag.responses import quoting_response, stream_pieces, with_sources
from llama_index.query_engine.mmrag.sources import Source, number_sources
from mmrag.hosts.answers import aanswer_from, answer_from, source_evidence
from mmrag.types import Citation, Query

if TYPE_CHECKING:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.response_synthesizers import BaseSynthesizer

    from mmrag import Answerer
    from mmrag.hosts.sources import PageSources

dispatcher = get_dispatcher(__name__)

Nodes = list[NodeWithScore]
MoreNodes = Sequence[NodeWithScore] | None


class QuerySteps(BaseQueryEngine):
    """Retrieves nodes and synthesizes a response from them, blocking or not."""

    _retriever: BaseRetriever
    _node_postprocessors: list[BaseNodePostprocessor]
    _synthesizer: BaseSynthesizer | None
    _answerer: Answerer
    _pages: PageSources
    _multimodal: bool
    _streaming: bool

    @property
    def retriever(self) -> BaseRetriever:
        """Return the retriever that finds the pages."""
        return self._retriever

    def close(self) -> None:
        """Stop the reading processes, if pages had to be read again."""
        self._pages.close()

    def retrieve(self, query_bundle: QueryBundle) -> Nodes:
        """Return nodes for a question, through the postprocessors."""
        nodes = self._retriever.retrieve(query_bundle)
        for postprocessor in self._node_postprocessors:
            nodes = postprocessor.postprocess_nodes(nodes, query_bundle=query_bundle)
        return nodes

    async def aretrieve(self, query_bundle: QueryBundle) -> Nodes:
        """Run `retrieve` without blocking the event loop."""
        nodes = await self._retriever.aretrieve(query_bundle)
        for postprocessor in self._node_postprocessors:
            nodes = await postprocessor.apostprocess_nodes(nodes, query_bundle=query_bundle)
        return nodes

    def synthesize(
        self, query_bundle: QueryBundle, nodes: Nodes, additional_source_nodes: MoreNodes = None
    ) -> RESPONSE_TYPE:
        """Return an answer from nodes that are there already."""
        sources, extra = number_sources(self._pages, nodes), list(additional_source_nodes or [])
        if self._synthesizer is None:
            dispatcher.event(SynthesizeStartEvent(query=query_bundle))
            answer = answer_from(self._answerer, _query(query_bundle), [s.candidate for s in sources])
            quotes = quoting_response(answer, sources, extra)
            response = stream_pieces(quotes) if self._streaming else quotes
            dispatcher.event(SynthesizeEndEvent(query=query_bundle, response=response))
            return response
        prompt = [source.prompt_node(self._multimodal) for source in sources]
        response = self._synthesizer.synthesize(query_bundle, prompt)
        return with_sources(response, sources, self._evidence(query_bundle, sources), extra)

    async def asynthesize(
        self, query_bundle: QueryBundle, nodes: Nodes, additional_source_nodes: MoreNodes = None
    ) -> RESPONSE_TYPE:
        """Run `synthesize` without blocking the event loop."""
        sources = await asyncio.to_thread(number_sources, self._pages, nodes)
        extra = list(additional_source_nodes or [])
        if self._synthesizer is None:
            dispatcher.event(SynthesizeStartEvent(query=query_bundle))
            candidates = [source.candidate for source in sources]
            answer = await aanswer_from(self._answerer, _query(query_bundle), candidates)
            quotes = quoting_response(answer, sources, extra)
            response = stream_pieces(quotes, asynchronous=True) if self._streaming else quotes
            dispatcher.event(SynthesizeEndEvent(query=query_bundle, response=response))
            return response
        prompt = [source.prompt_node(self._multimodal) for source in sources]
        response, evidence = await asyncio.gather(
            self._synthesizer.asynthesize(query_bundle, prompt),
            asyncio.to_thread(self._evidence, query_bundle, sources),
        )
        return with_sources(response, sources, evidence, extra)

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        payload: dict[str, Any] = {EventPayload.QUERY_STR: query_bundle.query_str}
        with self.callback_manager.event(CBEventType.QUERY, payload=payload) as event:
            response = self.synthesize(query_bundle, self.retrieve(query_bundle))
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        payload: dict[str, Any] = {EventPayload.QUERY_STR: query_bundle.query_str}
        with self.callback_manager.event(CBEventType.QUERY, payload=payload) as event:
            response = await self.asynthesize(query_bundle, await self.aretrieve(query_bundle))
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    def _evidence(self, bundle: QueryBundle, sources: Sequence[Source]) -> list[tuple[Citation, ...]]:
        return source_evidence(self._answerer, _query(bundle), [source.candidate for source in sources])


def _query(bundle: QueryBundle) -> Query:
    return Query(text=bundle.query_str)
