"""`MMRagThinkRerank`: the rerankers of the core as the host's compressor, and as a step of an LCEL chain.

A compressor of the host is no `Runnable`, and the ready retriever around it is in ``langchain_classic``. This
class is both: a compressor, and a step from ``{"documents", "query"}`` to documents, so a chain needs
``langchain-core`` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import Runnable, RunnableParallel, RunnablePassthrough, RunnableSerializable
from mmrag.hosts.ranking import ajudge, item_position, judge, judgement, ranking_of
from mmrag.hosts.rerankers import RerankSettings, needs_images
from mmrag.types import Ranking
from pydantic import ConfigDict, Field, SecretStr

from langchain_mmrag._documents import as_query, documents_and_question, to_item
from langchain_mmrag._secret import KeylessPickle, environment_key

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks
    from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
    from langchain_core.runnables import RunnableConfig


State = dict[str, Any]
Documents = list[Document]


class MMRagThinkRerank(
    KeylessPickle,
    RerankSettings,
    BaseDocumentCompressor,
    RunnableSerializable[dict[str, Any], list[Document]],
):
    """Documents in the order of a model's judgement of each: of its text, and of the picture of its page.

    Without `base_url` a small cross-encoder in this process reads the texts. With it a served model judges,
    thinking first if `think_tokens` is above 0. Documents come back as copies with ``relevance_score``, and
    with ``retrieval_score`` if they had a score (``retrieval_score`` or ``relevance_score``) before. Settings
    are the fields of `mmrag.hosts.rerankers.RerankSettings`.

    A picture is read from ``image_path`` or ``image`` (a path, ``file:`` or ``data:`` URI); pages of an mmrag
    store without one are drawn from their file.

    In a chain: ``reranker.after(retriever)``, or as a step behind
    ``{"documents": retriever, "query": RunnablePassthrough()}``.

    Raises:
        ValueError: a setting out of its range, or one that the mode does not have.

    Example:
        >>> found = [Document("Cats purr."), Document("Dogs bark.")]
        >>> best = MMRagThinkRerank(top_n=1).compress_documents(found, "Which animal barks?")
        >>> [document.page_content for document in best]
        ['Dogs bark.']
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    api_key: SecretStr | None = Field(default_factory=environment_key, exclude=True, repr=False, frozen=True)
    """For the server; never written out."""

    # ---- as a compressor ----

    def compress_documents(
        self, documents: Sequence[Document], query: Any, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the documents, best first, at most `top_n`.

        Args:
            documents: of any retriever, in its order; they are not changed.
            query: text, ``{"text", "image"}``, a message, or content blocks.
            callbacks: the host's.

        Raises:
            ServerError: the server, or its answer, is not as it must be (``on_error="raise"``).
            FileNotFoundError: a picture is gone.
            ValueError: an empty question.
        """
        if not documents:
            return []
        ranking = judge(self.core, self._ranking(documents, query), self.top_n)
        return self._reorder(ranking, documents)

    async def acompress_documents(
        self, documents: Sequence[Document], query: Any, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Run `compress_documents` without blocking the event loop."""
        if not documents:
            return []
        ranking = await asyncio.to_thread(self._ranking, documents, query)  # opens pictures
        return self._reorder(await ajudge(self.core, ranking, self.top_n), documents)

    def _ranking(self, documents: Sequence[Document], query: Any) -> Ranking:
        return ranking_of(as_query(query), list(map(to_item, documents)), images=needs_images(self.core))

    def _reorder(self, ranking: Ranking, documents: Sequence[Document]) -> list[Document]:
        copies = []
        for candidate in ranking:
            document = documents[item_position(candidate)]
            remarks = judgement(ranking, candidate, to_item(document), thought=self.keep_thought)
            copies.append(document.model_copy(update={"metadata": {**document.metadata, **remarks}}))
        return copies

    # ---- as a step of a chain ----

    def after(self, retriever: Runnable[Any, Any]) -> Runnable[Any, list[Document]]:
        """Return the retriever with this behind it: a question in, its documents in the new order out."""
        state = RunnableParallel(documents=retriever, query=RunnablePassthrough())
        chain: Runnable[Any, list[Document]] = state | self
        return chain

    def invoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Rerank the documents of a state with ``documents`` and ``query`` (or ``question``, or ``input``).

        Raises:
            TypeError: the state lacks one of them; else as `compress_documents`.
        """
        return self._call_with_config(
            lambda state: self.compress_documents(*documents_and_question(state)), input, config, **kwargs
        )

    async def ainvoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Run `invoke` without blocking the event loop."""

        async def step(state: dict[str, Any]) -> list[Document]:
            return await self.acompress_documents(*documents_and_question(state))

        return await self._acall_with_config(step, input, config, **kwargs)

    # ---- serialised ----

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Return where the host finds the key again."""
        return {"api_key": "MMRAG_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: the host may serialise it."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Return the settings, never the key; a ready reranker or trace writer cannot be serialised."""
        if self.reranker is not None or self.traces is not None:
            return self.to_json_not_implemented()
        return super().to_json()
