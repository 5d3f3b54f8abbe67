"""`MMRagThinkRerank`: the rerankers of the core as the host's compressor, and as a step of an LCEL chain.

A compressor of the host is no `Runnable`, and the ready retriever around it lives in ``langchain_classic``.
This one is both: a compressor wherever one is asked for, and a step ``{"documents", "query"}`` to documents,
so a chain needs ``langchain-core`` alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import Runnable, RunnableParallel, RunnablePassthrough, RunnableSerializable
from langchain_core.utils import secret_from_env
from mmrag.hosts.ranking import (
    SETTINGS,
    HostItem,
    PageDrawer,
    host_reranker,
    judgement,
    place_of,
    ranking_of,
    ready_reranker,
    sees,
)
from mmrag.rerank import Reranker
from mmrag.types import Ranking
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from langchain_mmrag._inputs import as_query

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks
    from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
    from langchain_core.runnables import RunnableConfig

QUESTION_KEYS = ("query", "question", "input")
"""Keys under which a chain may carry the question; the first that is there counts."""

_ENVIRONMENT_KEY = secret_from_env("MMRAG_API_KEY", default=None)


class MMRagThinkRerank(BaseDocumentCompressor, RunnableSerializable[dict[str, Any], list[Document]]):
    """Documents in the order of what a model says of each: of its text, and of the picture of its page.

    Without `base_url` a small cross-encoder in this process reads the texts. With it a served model judges,
    thinking first where `think_tokens` says so. Documents come back as copies with ``relevance_score``, and
    with ``retrieval_score`` where they had a score (``retrieval_score`` or ``relevance_score``) before.

    A picture is looked for under ``image_path`` and ``image`` (a path, ``file:`` or ``data:`` URI); pages of
    an mmrag store without one are drawn from their file.

    In a chain: ``reranker.after(retriever)``, or as a step behind
    ``{"documents": retriever, "query": RunnablePassthrough()}``.

    Raises:
        ValueError: a setting out of its range, or one that the mode does not have.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    top_n: int | None = Field(default=None, ge=1)
    """Most documents to give back; None: all."""
    mode: str | None = Field(default=None, frozen=True)
    """See `mmrag.rerank.ThinkReranker`; None: ``"pointwise"``, or ``"local"`` without a server."""
    think_tokens: int = Field(default=0, frozen=True)
    """Most tokens of a thought before each answer; 0 does not think."""
    model: str | None = Field(default=None, frozen=True)
    """Name on the server; None where it serves just one."""
    base_url: str | None = Field(default=None, frozen=True)
    """The server, with or without ``/v1``."""
    api_key: SecretStr | None = Field(default_factory=_ENVIRONMENT_KEY, exclude=True, repr=False, frozen=True)
    """For that server; never written out."""
    alpha: float | None = Field(default=None, frozen=True)
    """The retrieval score's share, 0 to 1; None: 0.5 for ``"local"``, else 0."""
    instruction: str | None = Field(default=None, frozen=True)
    """What counts as relevant, in a sentence."""
    images: bool = Field(default=True, frozen=True)
    """Show the model pictures; False for models that only read."""
    text: bool = Field(default=True, frozen=True)
    """Show the model the text of documents that have a picture."""
    image_pixels: int = Field(default=1_000_000, frozen=True)
    """Largest area of a picture."""
    prompts: str | Path | None = Field(default=None, frozen=True)
    """A folder with prompt files of one's own."""
    traces: Any = Field(default=None, exclude=True, repr=False, frozen=True)
    """A `mmrag.rerank.traces.TraceWriter`, for ``ecrr`` and ``qar``."""
    cache: str | Path | None = Field(default=None, frozen=True)
    """A folder that keeps every reply of the server."""
    on_error: str = Field(default="raise", frozen=True)
    """``"raise"``, or ``"keep"``: where the server fails documents keep their order, marked as such."""
    keep_thought: bool = False
    """Put what the model wrote before its answer under ``thought``."""
    timeout: float = Field(default=300.0, frozen=True)
    """Seconds that a request may take."""
    max_retries: int = Field(default=2, frozen=True)
    """Attempts after the first."""
    max_concurrency: int = Field(default=8, frozen=True)
    """Requests in flight at once."""
    extra: dict[str, Any] | None = Field(default=None, frozen=True)
    """Further keys of chat requests."""
    reranker: Any = Field(default=None, exclude=True, repr=False, frozen=True)
    """A ready reranker of mmrag instead of all of these."""

    _reranker: Reranker | None = PrivateAttr(default=None)
    _drawer: PageDrawer = PrivateAttr(default_factory=PageDrawer)

    @field_validator("prompts", "cache", mode="before")
    @classmethod
    def _folder(cls, value: Any) -> Any:  # what a user wrote
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    def model_post_init(self, context: Any, /) -> None:  # pydantic's
        """Make the reranker, so that a wrong setting is refused here and not at the first question."""
        self._reranker = self._made()

    def _made(self) -> Reranker:
        if self.reranker is not None:
            return ready_reranker(self.reranker, self._drawer, self._given())
        return host_reranker(
            self.base_url,
            mode=self.mode,
            alpha=self.alpha,
            render=self._drawer,
            api_key=None if self.api_key is None else self.api_key.get_secret_value(),
            **{name: getattr(self, name) for name in SETTINGS},
        )

    def _given(self) -> list[str]:
        """Settings that are not as they are by default, beside those that any reranker leaves to this."""
        fields = type(self).model_fields
        free = {"reranker", "top_n", "keep_thought", "name"}
        usual = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
        return [name for name in fields if name not in free and getattr(self, name) != usual[name]]

    @property
    def core(self) -> Reranker:
        """The reranker of mmrag that judges."""
        if self._reranker is None:  # unpickled
            self._reranker = self._made()
        return self._reranker

    # ---- as a compressor -------------------------------------------------------------------------

    def compress_documents(
        self, documents: Sequence[Document], query: Any, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Copies of the documents, best first, at most `top_n`.

        Args:
            documents: of any retriever, in its order; they are not changed.
            query: text, ``{"text", "image"}``, a message, or content blocks.
            callbacks: the host's.

        Raises:
            ServerError: the server, or an answer of it, is not as it must be (``on_error="raise"``).
            FileNotFoundError: a picture is gone.
            ValueError: an empty question.
        """
        if not documents:
            return []
        items = [_item(document) for document in documents]
        judged = self.core.rerank(self._ranking(items, query), top_n=self.top_n)
        return self._documents(judged, documents, items)

    async def acompress_documents(
        self, documents: Sequence[Document], query: Any, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """`compress_documents` without blocking the event loop."""
        if not documents:
            return []
        items = [_item(document) for document in documents]
        ranking = await asyncio.to_thread(self._ranking, items, query)  # opens pictures
        judged = await self.core.arerank(ranking, top_n=self.top_n)
        return self._documents(judged, documents, items)

    def _ranking(self, items: Sequence[HostItem], query: Any) -> Ranking:
        return ranking_of(as_query(query), items, pictures=sees(self.core))

    def _documents(
        self, judged: Ranking, documents: Sequence[Document], items: Sequence[HostItem]
    ) -> list[Document]:
        found = []
        for candidate in judged:
            place = place_of(candidate)
            said = judgement(judged, candidate, items[place], thought=self.keep_thought)
            metadata = {**documents[place].metadata, **said}
            found.append(documents[place].model_copy(update={"metadata": metadata}))
        return found

    # ---- as a step of a chain --------------------------------------------------------------------

    def after(self, retriever: Runnable[Any, Any]) -> Runnable[Any, list[Document]]:
        """A retriever with this behind it: a question in, its documents in the new order out."""
        chain: Runnable[Any, list[Document]] = (
            RunnableParallel(documents=retriever, query=RunnablePassthrough()) | self
        )
        return chain

    def invoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Documents of a state with ``documents`` and ``query`` (or ``question``, or ``input``).

        Raises:
            TypeError: the state has not both; else as `compress_documents`.
        """

        def step(state: dict[str, Any]) -> list[Document]:
            return self.compress_documents(*_asked(state))

        return self._call_with_config(step, input, config, **kwargs)

    async def ainvoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """`invoke` without blocking the event loop."""

        async def step(state: dict[str, Any]) -> list[Document]:
            return await self.acompress_documents(*_asked(state))

        return await self._acall_with_config(step, input, config, **kwargs)

    # ---- written down ----------------------------------------------------------------------------

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where the host finds the key again."""
        return {"api_key": "MMRAG_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether the host may write it down."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Settings, never the key; what holds a ready object says that it cannot be made again."""
        if self.reranker is not None or self.traces is not None:
            return self.to_json_not_implemented()
        return super().to_json()

    def __getstate__(self) -> dict[Any, Any]:
        """Settings only: no key, no sockets, no loaded weights."""
        state = super().__getstate__()
        values = {**state["__dict__"], "api_key": None}
        return {**state, "__dict__": values, "__pydantic_private__": None}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__({**state, "__pydantic_private__": {"_reranker": None, "_drawer": PageDrawer()}})
        self.__dict__["api_key"] = _ENVIRONMENT_KEY()


def _item(document: Document) -> HostItem:
    metadata = document.metadata
    score = metadata.get("relevance_score", metadata.get("retrieval_score"))
    return HostItem(
        text=document.page_content,
        image=metadata.get("image_path") or metadata.get("image"),
        score=None if score is None else float(score),
        id=document.id,
        metadata=metadata,
    )


def _asked(state: Any) -> tuple[Sequence[Document], Any]:
    """Documents and question of a chain's state."""
    if isinstance(state, Mapping) and "documents" in state:
        key = next((key for key in QUESTION_KEYS if key in state), None)
        if key is not None:
            return state["documents"], state[key]
    got = f"the keys {sorted(map(str, state))}" if isinstance(state, Mapping) else type(state).__name__
    raise TypeError(
        f"a reranker in a chain takes 'documents' and {' or '.join(map(repr, QUESTION_KEYS))}, got {got}. "
        "Behind a retriever write reranker.after(retriever)."
    )
