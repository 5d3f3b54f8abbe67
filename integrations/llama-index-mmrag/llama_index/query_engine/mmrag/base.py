"""`MMRagCitationQueryEngine`: answers whose ``[n]`` is a page, with the boxes that prove it.

Decisions taken here:

* ``[n]`` in the answer is ``response.source_nodes[n - 1]``, and that is a page: its text and its picture
  are shown to the model as one source. LlamaIndex's own `CitationQueryEngine` makes two of them.
* Without an `llm` the answer is quoted from the pages. With one, the model writes, and the boxes are where
  each page answers the question. ``Settings.llm`` is never used.
* Source nodes are copies of the retrieved ones, same ids, with ``quote`` and ``bbox`` (JSON, 0..1 of the
  page, origin top left) in the metadata of those that are cited and hold evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.query_engine.citation_query_engine import (
    CITATION_CHAT_CONTENT_QA_TEMPLATE,
    CITATION_CHAT_CONTENT_REFINE_TEMPLATE,
    CITATION_QA_TEMPLATE,
    CITATION_REFINE_TEMPLATE,
)
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.settings import Settings

from llama_index.query_engine.mmrag.arguments import check_arguments, retriever_over, searched_qa
from llama_index.query_engine.mmrag.steps import QuerySteps
from mmrag import DocumentQA
from mmrag.hosts.answers import answerer_over, default_answerer
from mmrag.hosts.sources import PageSources

if TYPE_CHECKING:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.indices.base import BaseIndex
    from llama_index.core.llms.llm import LLM
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.prompts import BasePromptTemplate
    from llama_index.core.prompts.mixin import PromptMixinType

    from llama_index.vector_stores.mmrag import MMRagVectorStore
    from mmrag import Answerer


class MMRagCitationQueryEngine(QuerySteps):
    """Question in; answer out, citing pages.

    Args:
        retriever: any; usually an `MMRagRetriever`.
        llm: writes the answer; None: it is quoted from the pages.
        node_postprocessors: run over what was retrieved.
        callback_manager: the host's.
        multimodal: whether the model sees the pages' pictures as well as their text. Needs a chat model that
            takes images; False shows text alone.
        streaming: whether answers come in pieces.
        response_mode: the host's, for more pages than a model's window holds.
        citation_qa_template: the prompt if `multimodal` is False.
        citation_refine_template: its follow-up.
        citation_chat_content_qa_template: the prompt with pictures.
        citation_chat_content_refine_template: its follow-up.
        answerer: one of mmrag's answerers, instead of `llm` and of quoting.

    Raises:
        TypeError: `retriever` is no retriever.
        ValueError: `llm` and `answerer` are both given, or the llm is no chat model and `multimodal` is True.

    Example:
        >>> engine = MMRagCitationQueryEngine(MMRagRetriever("my-index"))
        >>> answer = engine.query("Who chairs the board?")  # quoted; with llm=... a model writes it
        >>> print(answer)
        Ingrid Thorne chairs the board. [1]
        >>> [page.metadata["page_label"] for page in cited_nodes(answer)]
        ['2']
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
        check_arguments(retriever, llm, answerer, multimodal)
        manager = callback_manager or Settings.callback_manager
        self._retriever = retriever
        self._node_postprocessors = list(node_postprocessors or [])
        for postprocessor in self._node_postprocessors:
            postprocessor.callback_manager = manager
        self._multimodal, self._streaming = multimodal, streaming
        qa = searched_qa(retriever)
        self._pages = PageSources(qa)
        self._answerer = answerer or (default_answerer() if qa is None else qa.answerer)
        if qa is not None:
            self._answerer = answerer_over(qa, self._answerer)
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
        """Return an engine over a `DocumentQA`, its folder, an `MMRagVectorStore` or an index of the host.

        `retriever` replaces `index`; `retriever_options` are for the retriever over `index`. For the others
        see the class.

        Raises:
            ValueError: neither or both of `index` and `retriever`, or options without an index.
        """
        retriever = retriever_over(index, retriever, retriever_options)
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

    def _get_prompt_modules(self) -> PromptMixinType:
        return {} if self._synthesizer is None else {"response_synthesizer": self._synthesizer}
