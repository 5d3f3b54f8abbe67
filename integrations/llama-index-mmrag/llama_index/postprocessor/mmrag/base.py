"""`MMRagThinkRerank`: nodes in the order of what a model says of each, of its text and of its picture.

Decisions taken here:

* A node is read as LlamaIndex's own rerankers read it (`MetadataMode.EMBED`), and seen by the picture it
  holds: a path, base64 data, or ``image_path`` in its metadata. Pages of mmrag without one are drawn from
  their file. Nothing is downloaded.
* The nodes given are never changed, and what comes back shares no metadata with them.
* The question is `QueryBundle.query_str` and its image. Strings made up to search with (HyDE) are not
  what was asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle

from llama_index.readers.mmrag.nodes import NO_TEXT, PageWithScore, embed_text, image_of
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
from mmrag.images import load_image
from mmrag.rerank import Reranker
from mmrag.types import Query, Ranking

dispatcher = get_dispatcher(__name__)
_FREE = {"top_n", "keep_retrieval_score", "keep_thought", "callback_manager", "reranker"}


class MMRagThinkRerank(BaseNodePostprocessor):
    """Reranks text and image nodes with mmrag's rerankers.

    Without `base_url` a small cross-encoder in this process reads the texts. With it a served model judges,
    thinking first where `think_tokens` says so.

    Raises:
        ValueError: a setting out of its range, or one that the mode does not have.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    top_n: int | None = Field(default=None, ge=1, description="Most nodes to give back; None: all.")
    mode: str | None = Field(
        default=None,
        frozen=True,
        description="As in mmrag's ThinkReranker; None: pointwise, or local without a server.",
    )
    think_tokens: int = Field(
        default=0, frozen=True, description="Most tokens of a thought before each answer."
    )
    model: str | None = Field(
        default=None, frozen=True, description="Name on the server; None: its only one."
    )
    base_url: str | None = Field(default=None, frozen=True, description="The server, with or without /v1.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False, frozen=True)
    alpha: float | None = Field(
        default=None,
        frozen=True,
        description="The retrieval score's share, 0 to 1; None: 0.5 for local, else 0.",
    )
    keep_retrieval_score: bool = Field(
        default=False, description="Keep the score before in metadata, as retrieval_score."
    )
    keep_thought: bool = Field(
        default=False, description="Put what the model wrote before its answer in metadata, as thought."
    )
    instruction: str | None = Field(default=None, frozen=True, description="What counts as relevant.")
    images: bool = Field(default=True, frozen=True, description="Show the model pictures.")
    text: bool = Field(default=True, frozen=True, description="Show the text of nodes that have a picture.")
    image_pixels: int = Field(default=1_000_000, frozen=True, description="Largest area of a picture.")
    prompts: str | Path | None = Field(default=None, frozen=True, description="Folder of one's own prompts.")
    traces: Any = Field(default=None, exclude=True, repr=False, frozen=True)
    cache: str | Path | None = Field(default=None, frozen=True, description="Folder that keeps replies.")
    on_error: str = Field(
        default="raise", frozen=True, description="raise, or keep: the prior order where the server fails."
    )
    timeout: float = Field(default=300.0, frozen=True, description="Seconds that a request may take.")
    max_retries: int = Field(default=2, frozen=True, description="Attempts after the first.")
    max_concurrency: int = Field(default=8, frozen=True, description="Requests in flight at once.")
    extra: dict[str, Any] | None = Field(default=None, frozen=True, description="Keys of chat requests.")
    reranker: Any = Field(default=None, exclude=True, repr=False, frozen=True)

    _reranker: Reranker = PrivateAttr()
    _drawer: PageDrawer = PrivateAttr(default_factory=PageDrawer)

    @field_validator("prompts", "cache", mode="before")
    @classmethod
    def _folder(cls, value: Any) -> Any:  # what a user wrote
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    def model_post_init(self, context: Any, /) -> None:  # pydantic's
        """Make the reranker, so that a wrong setting is refused here and not at the first question."""
        if self.reranker is not None:
            self._reranker = ready_reranker(self.reranker, self._drawer, self._given())
            return
        self._reranker = host_reranker(
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
        return [n for n, field in fields.items() if n not in _FREE and getattr(self, n) != field.default]

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "MMRagThinkRerank"

    @property
    def core(self) -> Reranker:
        """The reranker of mmrag that judges."""
        return self._reranker

    # ---- what the host asks for ------------------------------------------------------------------

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query_bundle = _given(query_bundle)
        if not nodes:
            return []
        dispatcher.event(self._start(nodes, query_bundle))
        with self.callback_manager.event(CBEventType.RERANKING, self._payload(nodes, query_bundle)) as event:
            items = [_item(node) for node in nodes]
            judged = self._reranker.rerank(self._ranking(items, query_bundle), top_n=self.top_n)
            found = self._nodes(judged, nodes, items)
            event.on_end(payload={EventPayload.NODES: found})
        dispatcher.event(ReRankEndEvent(nodes=found))
        return found

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query_bundle = _given(query_bundle)
        if not nodes:
            return []
        dispatcher.event(self._start(nodes, query_bundle))
        with self.callback_manager.event(CBEventType.RERANKING, self._payload(nodes, query_bundle)) as event:
            items = [_item(node) for node in nodes]
            ranking = await asyncio.to_thread(self._ranking, items, query_bundle)  # opens pictures
            judged = await self._reranker.arerank(ranking, top_n=self.top_n)
            found = self._nodes(judged, nodes, items)
            event.on_end(payload={EventPayload.NODES: found})
        dispatcher.event(ReRankEndEvent(nodes=found))
        return found

    def _ranking(self, items: Sequence[HostItem], bundle: QueryBundle) -> Ranking:
        image = None if bundle.image_path is None else load_image(bundle.image_path)
        query = Query(text=bundle.query_str or None, image=image)
        return ranking_of(query, items, pictures=sees(self._reranker))

    def _nodes(
        self, judged: Ranking, nodes: Sequence[NodeWithScore], items: Sequence[HostItem]
    ) -> list[NodeWithScore]:
        found: list[NodeWithScore] = []
        for candidate in judged:
            place = place_of(candidate)
            said = judgement(judged, candidate, items[place], thought=self.keep_thought)
            before = nodes[place]
            if not self.keep_retrieval_score and "retrieval_score" not in before.node.metadata:
                said.pop("retrieval_score", None)
            if "relevance_score" not in before.node.metadata:
                said.pop("relevance_score", None)  # LlamaIndex has a place of its own for it
            score = candidate.score if judged.reranked else before.score
            found.append(PageWithScore(node=_told(before.node, said), score=score))
        return found

    # ---- events ----------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        """The judge, for people."""
        return self.model or str(getattr(self._reranker, "name", None) or self.mode or "pointwise")

    def _start(self, nodes: list[NodeWithScore], bundle: QueryBundle) -> ReRankStartEvent:
        return ReRankStartEvent(
            query=bundle, nodes=nodes, top_n=self.top_n or len(nodes), model_name=self._name
        )

    def _payload(self, nodes: list[NodeWithScore], bundle: QueryBundle) -> dict[str, Any]:
        return {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self._name,
            EventPayload.QUERY_STR: bundle.query_str,
            EventPayload.TOP_K: self.top_n or len(nodes),
        }

    # ---- written down ----------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """The settings, without the key: whoever unpickles reads their own environment."""
        left_out = ("api_key", "callback_manager")  # the host leaves both out of `to_dict`
        set_here = self.model_fields_set
        return {"__dict__": {k: v for k, v in self.__dict__.items() if k in set_here and k not in left_out}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make it again; see `__getstate__`."""
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # how every BaseComponent is restored


def _given(bundle: QueryBundle | None) -> QueryBundle:
    if bundle is None:
        raise ValueError(
            "Missing query bundle in extra info: a reranker must know the question. "
            "Pass query_bundle=QueryBundle(...) or query_str=..."
        )
    return bundle


def _item(node: NodeWithScore) -> HostItem:
    inner = node.node
    text = embed_text(inner)
    return HostItem(
        text="" if text == NO_TEXT else text,
        image=image_of(inner),
        score=node.score,
        id=inner.node_id,
        metadata=inner.metadata,
    )


def _told(node: BaseNode, said: dict[str, Any]) -> BaseNode:
    """A copy of the node with this in its metadata, for people and not for models."""
    new = [key for key in said if key not in node.metadata]
    return node.model_copy(
        update={
            "metadata": {**node.metadata, **said},
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, *new],
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, *new],
        }
    )
