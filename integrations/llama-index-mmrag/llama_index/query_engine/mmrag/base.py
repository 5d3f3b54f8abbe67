"""`MMRagCitationQueryEngine`: answers whose ``[n]`` is a page, with the boxes that prove it.

Decisions taken here:

* It stands where LlamaIndex has its own engines, ``query_engine``, as ``llama_index.core`` does.
* ``[n]`` in the answer is ``response.source_nodes[n - 1]``, and that is a page: its text and its picture
  are shown to the model as one source. LlamaIndex's own `CitationQueryEngine` makes two of them.
* Without a language model the answer is quoted from the pages; ``Settings.llm`` is used only if it is
  given. With one, the model writes, and the boxes are where each page answers the question.
* Source nodes are copies of the retrieved ones, same ids, with ``quote`` and ``bbox`` (JSON, 0..1 of the
  page, origin top left) in the metadata of those that are cited and hold evidence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.synthesis import SynthesizeEndEvent, SynthesizeStartEvent
from llama_index.core.query_engine.citation_query_engine import (
    CITATION_CHAT_CONTENT_QA_TEMPLATE,
    CITATION_CHAT_CONTENT_REFINE_TEMPLATE,
    CITATION_QA_TEMPLATE,
    CITATION_REFINE_TEMPLATE,
)
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.settings import Settings
from llama_index.core.types import TokenAsyncGen, TokenGen

from llama_index.query_engine.mmrag.sources import Source, Sources
from llama_index.retrievers.mmrag import MMRagRetriever
from llama_index.vector_stores.mmrag import MMRagVectorStore
from mmrag.answer import Answerer, ExtractiveAnswerer
from mmrag.pipeline import DocumentQA
from mmrag.types import Answer, Citation, Query, Ranking

if TYPE_CHECKING:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.indices.base import BaseIndex
    from llama_index.core.llms.llm import LLM
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.prompts import BasePromptTemplate
    from llama_index.core.prompts.mixin import PromptMixinType

dispatcher = get_dispatcher(__name__)

_MARK = re.compile(r"\[(\d+(?:\s*,\s*\d+)*)\]")  # [1], [1, 3]

NOTHING_FOUND = "No page was found for this question."


class MMRagCitationQueryEngine(BaseQueryEngine):
    """Question in; answer out, citing pages.

    Args:
        retriever: any; an `MMRagRetriever` as a rule.
        llm: writes the answer; None: it is quoted from the pages.
        node_postprocessors: run over what was retrieved.
        callback_manager: the host's.
        multimodal: whether the model sees the pages' pictures beside their text. Needs a chat model that
            takes images; False shows text alone.
        streaming: whether answers come in pieces.
        response_mode: the host's, for more pages than a model's window holds.
        citation_qa_template: the prompt where `multimodal` is False.
        citation_refine_template: its follow-up.
        citation_chat_content_qa_template: the prompt with pictures.
        citation_chat_content_refine_template: its follow-up.
        answerer: one of mmrag's answerers, instead of `llm` and of quoting.

    Raises:
        TypeError: `retriever` is none.
        ValueError: `llm` and `answerer` are both given, or the llm is no chat model and `multimodal` is True.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        llm: LLM | None = None,
        *,
        node_postprocessors: Sequence[BaseNodePostprocessor] | None = None,
        callback_manager: CallbackManager | None = None,
        multimodal: bool = True,
        streaming: bool = False,
        response_mode: ResponseMode = ResponseMode.COMPACT,
        citation_qa_template: BasePromptTemplate = CITATION_QA_TEMPLATE,
        citation_refine_template: BasePromptTemplate = CITATION_REFINE_TEMPLATE,
        citation_chat_content_qa_template: BasePromptTemplate = CITATION_CHAT_CONTENT_QA_TEMPLATE,
        citation_chat_content_refine_template: BasePromptTemplate = CITATION_CHAT_CONTENT_REFINE_TEMPLATE,
        answerer: Answerer | None = None,
    ) -> None:
        if llm is not None and answerer is not None:
            raise ValueError("an llm or an answerer writes the answer, got both. Leave one out.")
        if not isinstance(retriever, BaseRetriever):
            raise TypeError(
                f"retriever must be a retriever of LlamaIndex, got {type(retriever).__name__}. "
                "Use MMRagCitationQueryEngine.from_args(...) for an index, a store or a folder."
            )
        if llm is not None and multimodal and not llm.metadata.is_chat_model:
            raise ValueError(
                f"an llm that is shown pictures must be a chat model, got {type(llm).__name__}. "
                "Give one, or pass multimodal=False."
            )
        manager = callback_manager or Settings.callback_manager
        self._retriever = retriever
        self._node_postprocessors = list(node_postprocessors or [])
        for postprocessor in self._node_postprocessors:
            postprocessor.callback_manager = manager
        self._multimodal = multimodal
        self._streaming = streaming
        qa = _qa_behind(retriever)
        self._sources = Sources(qa)
        self._answerer = answerer or (ExtractiveAnswerer() if qa is None else qa.answerer)
        self._synthesizer = None
        if llm is not None:
            self._synthesizer = get_response_synthesizer(
                llm=llm,
                callback_manager=manager,
                text_qa_template=citation_qa_template,
                refine_template=citation_refine_template,
                chat_content_qa_template=citation_chat_content_qa_template,
                chat_content_refine_template=citation_chat_content_refine_template,
                response_mode=response_mode,
                streaming=streaming,
                multimodal=multimodal,
            )
        super().__init__(callback_manager=manager)

    @classmethod
    def from_args(
        cls,
        index: BaseIndex[Any] | DocumentQA | MMRagVectorStore | str | Path | None = None,
        llm: LLM | None = None,
        *,
        retriever: BaseRetriever | None = None,
        node_postprocessors: Sequence[BaseNodePostprocessor] | None = None,
        callback_manager: CallbackManager | None = None,
        multimodal: bool = True,
        streaming: bool = False,
        response_mode: ResponseMode = ResponseMode.COMPACT,
        answerer: Answerer | None = None,
        **retriever_options: Any,
    ) -> MMRagCitationQueryEngine:
        """An engine over an index.

        Args:
            index: a `DocumentQA`, the folder of an index, an `MMRagVectorStore`, or an index of LlamaIndex.
            llm: see the class.
            retriever: instead of `index`.
            node_postprocessors: see the class.
            callback_manager: see the class.
            multimodal: see the class.
            streaming: see the class.
            response_mode: see the class.
            answerer: see the class.
            retriever_options: for the retriever over `index`, such as ``similarity_top_k`` and ``filters``.

        Raises:
            ValueError: neither or both of `index` and `retriever`, or options without an index.
        """
        if (index is None) == (retriever is None):
            raise ValueError("an engine is made of an index or a retriever, got neither or both. Give one.")
        if retriever is None:
            if isinstance(index, (DocumentQA, MMRagVectorStore, str, Path)):
                retriever = MMRagRetriever(index, **retriever_options)
            else:
                assert index is not None  # checked above
                retriever = index.as_retriever(**retriever_options)
        elif retriever_options:
            raise ValueError(f"options go with an index, got {sorted(retriever_options)} and a retriever.")
        return cls(
            retriever,
            llm,
            node_postprocessors=node_postprocessors,
            callback_manager=callback_manager,
            multimodal=multimodal,
            streaming=streaming,
            response_mode=response_mode,
            answerer=answerer,
        )

    @property
    def retriever(self) -> BaseRetriever:
        """What finds the pages."""
        return self._retriever

    def close(self) -> None:
        """End the reading processes, if pages had to be read again."""
        self._sources.close()

    def _get_prompt_modules(self) -> PromptMixinType:
        return {} if self._synthesizer is None else {"response_synthesizer": self._synthesizer}

    # ---- the three steps -------------------------------------------------------------------------

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Nodes for a question, through the postprocessors."""
        nodes = self._retriever.retrieve(query_bundle)
        for postprocessor in self._node_postprocessors:
            nodes = postprocessor.postprocess_nodes(nodes, query_bundle=query_bundle)
        return nodes

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """`retrieve` without blocking the event loop."""
        nodes = await self._retriever.aretrieve(query_bundle)
        for postprocessor in self._node_postprocessors:
            nodes = await postprocessor.apostprocess_nodes(nodes, query_bundle=query_bundle)
        return nodes

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """An answer from nodes that are there already."""
        sources = self._sources.of(nodes)
        extra = list(additional_source_nodes or [])
        if self._synthesizer is None:
            dispatcher.event(SynthesizeStartEvent(query=query_bundle))
            quoted = self._quoted(self._answer(query_bundle, sources), sources, extra)
            response: RESPONSE_TYPE = quoted
            if self._streaming:
                pieces = _pieces(quoted.response or "")
                response = StreamingResponse(pieces, quoted.source_nodes, quoted.metadata)
            dispatcher.event(SynthesizeEndEvent(query=query_bundle, response=response))
            return response
        shown = [source.shown(self._multimodal) for source in sources]
        response = self._synthesizer.synthesize(query_bundle, shown)
        return _with_sources(response, sources, self._evidence(query_bundle, sources), extra)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """`synthesize` without blocking the event loop."""
        sources = await asyncio.to_thread(self._sources.of, nodes)
        extra = list(additional_source_nodes or [])
        if self._synthesizer is None:
            dispatcher.event(SynthesizeStartEvent(query=query_bundle))
            query = _query(query_bundle)
            answer = await self._answerer.aanswer(query, _ranking(query, sources)) if sources else None
            quoted = self._quoted(answer, sources, extra)
            response: RESPONSE_TYPE = quoted
            if self._streaming:
                pieces = _apieces(quoted.response or "")
                response = AsyncStreamingResponse(pieces, quoted.source_nodes, quoted.metadata)
            dispatcher.event(SynthesizeEndEvent(query=query_bundle, response=response))
            return response
        shown = [source.shown(self._multimodal) for source in sources]
        response, cited = await asyncio.gather(
            self._synthesizer.asynthesize(query_bundle, shown),
            asyncio.to_thread(self._evidence, query_bundle, sources),
        )
        return _with_sources(response, sources, cited, extra)

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

    # ---- translation -----------------------------------------------------------------------------

    def _answer(self, bundle: QueryBundle, sources: Sequence[Source]) -> Answer | None:
        query = _query(bundle)
        return self._answerer.answer(query, _ranking(query, sources)) if sources else None

    def _quoted(
        self, answer: Answer | None, sources: Sequence[Source], extra: Sequence[NodeWithScore]
    ) -> Response:
        """An answer of mmrag in the host's form, its ``[n]`` counting pages."""
        if answer is None:
            return Response(NOTHING_FOUND, list(extra), {node.node_id: node.metadata for node in extra})
        number = {source.candidate.id: source.number for source in sources}
        cited = [
            source.cited([one for one in answer.citations if number.get(one.record_id) == source.number])
            for source in sources
        ]
        nodes = [*cited, *extra]
        text = _renumbered(answer.text, answer.citations, number)
        return Response(text, nodes, {node.node_id: node.metadata for node in nodes})

    def _evidence(self, bundle: QueryBundle, sources: Sequence[Source]) -> list[NodeWithScore]:
        """Each source by itself with the places where it answers the question."""
        query = _query(bundle)
        return [
            source.cited(self._answerer.answer(query, _ranking(query, [source])).citations)
            for source in sources
        ]


def _qa_behind(retriever: BaseRetriever) -> DocumentQA | None:
    """The `DocumentQA` that a retriever searches, where it is one of ours."""
    if isinstance(retriever, MMRagRetriever):
        return retriever.qa
    store = getattr(getattr(retriever, "_index", None), "vector_store", None)
    return store.client if isinstance(store, MMRagVectorStore) else None


def _query(bundle: QueryBundle) -> Query:
    return Query(text=bundle.query_str)


def _ranking(query: Query, sources: Sequence[Source]) -> Ranking:
    return Ranking(query, tuple(source.candidate for source in sources))


def _renumbered(text: str, citations: Sequence[Citation], number: dict[str, int]) -> str:
    """``[n]`` of mmrag counts quotes; here it counts pages. Marks stand in order, each behind its piece."""
    done, start = "", 0
    for citation in citations:
        mark = f"[{citation.number}]"
        at = text.find(mark, start)
        if at < 0:
            continue
        done += text[start:at] + f"[{number[citation.record_id]}]"
        start = at + len(mark)
    return done + text[start:]


def _with_sources(
    response: RESPONSE_TYPE,
    sources: Sequence[Source],
    cited: Sequence[NodeWithScore],
    extra: Sequence[NodeWithScore],
) -> RESPONSE_TYPE:
    """The host's response, speaking of the retrieved nodes instead of those made for the prompt.

    Evidence stays on the pages that the text cites; of a text still to come, on all.
    """
    if isinstance(response, Response):
        marks = _MARK.findall(response.response or "")
        named = {int(number) for mark in marks for number in mark.split(",")}
        cited = [
            node if source.number in named else source.cited([])
            for source, node in zip(sources, cited, strict=True)
        ]
    response.source_nodes = [*cited, *extra]
    response.metadata = {node.node_id: node.metadata for node in response.source_nodes}
    return response


def _pieces(text: str) -> TokenGen:
    yield from text.splitlines(keepends=True)


async def _apieces(text: str) -> TokenAsyncGen:
    for piece in text.splitlines(keepends=True):
        yield piece
