"""`MMRagThinkRerank`: nodes in the order of a model's judgement of each, of its text and of its picture.

Decisions taken here:

* A node is read as LlamaIndex's own rerankers read it (`MetadataMode.EMBED`), and seen by the picture it
  holds: a path, base64 data, or ``image_path`` in its metadata. Pages of mmrag without one are drawn from
  their file. Nothing is downloaded.
* The nodes given are never changed, and the nodes returned share no metadata with them.
* The question is `QueryBundle.query_str` and its image. Strings made up to search with (HyDE) are not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index.readers.mmrag.contents import to_item
from llama_index.readers.mmrag.nodes import PageWithScore, with_metadata
from mmrag.hosts.inputs import text_image_query
from mmrag.hosts.ranking import ajudge, item_position, judge, judgement, ranking_of
from mmrag.hosts.rerankers import RerankSettings, needs_images
from mmrag.types import Ranking

dispatcher = get_dispatcher(__name__)

Nodes = list[NodeWithScore]


class MMRagThinkRerank(RerankSettings, BaseNodePostprocessor):
    """Reranks text and image nodes with mmrag's rerankers.

    Without `base_url` a small cross-encoder in this process reads the texts. With it a served model judges,
    thinking first if `think_tokens` is above 0. Further settings are the fields of
    `mmrag.hosts.rerankers.RerankSettings`.

    Raises:
        ValueError: a setting out of its range, or one that the mode does not have.

    Example:
        >>> found = [NodeWithScore(node=TextNode(text=text)) for text in ("Cats purr.", "Dogs bark.")]
        >>> best = MMRagThinkRerank(top_n=1).postprocess_nodes(found, query_str="Which animal barks?")
        >>> [page.node.get_content() for page in best]
        ['Dogs bark.']
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    keep_retrieval_score: bool = Field(
        default=False, description="Keep the score before in metadata, as retrieval_score."
    )

    @classmethod
    def class_name(cls) -> str:
        """Return the name in serialised form."""
        return "MMRagThinkRerank"

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        with self._events(nodes, query_bundle) as reranked:
            if nodes:
                ranking = self._ranking(nodes, query_bundle)
                reranked += self._reorder(judge(self.core, ranking, self.top_n), nodes)
        return reranked

    async def _apostprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        with self._events(nodes, query_bundle) as reranked:
            if nodes:
                ranking = await asyncio.to_thread(self._ranking, nodes, query_bundle)  # opens pictures
                reranked += self._reorder(await ajudge(self.core, ranking, self.top_n), nodes)
        return reranked

    def _ranking(self, nodes: Sequence[NodeWithScore], bundle: QueryBundle | None) -> Ranking:
        assert bundle is not None  # _events has refused it
        query = text_image_query(bundle.query_str, bundle.image_path)
        return ranking_of(query, list(map(to_item, nodes)), images=needs_images(self.core))

    def _reorder(self, ranking: Ranking, nodes: Sequence[NodeWithScore]) -> Nodes:
        reranked: Nodes = []
        for candidate in ranking:
            before = nodes[item_position(candidate)]
            remarks = judgement(ranking, candidate, to_item(before), thought=self.keep_thought)
            if not self.keep_retrieval_score and "retrieval_score" not in before.node.metadata:
                remarks.pop("retrieval_score", None)
            if "relevance_score" not in before.node.metadata:
                remarks.pop("relevance_score", None)  # LlamaIndex has a field of its own for it
            score = candidate.score if ranking.reranked else before.score
            reranked.append(PageWithScore(node=with_metadata(before.node, remarks), score=score))
        return reranked

    # ---- events ----

    @contextmanager
    def _events(self, nodes: Nodes, bundle: QueryBundle | None) -> Iterator[Nodes]:
        """Send the events of one reranking around a block that fills the list yielded; none without nodes.

        Raises:
            ValueError: there is no question.
        """
        if bundle is None:
            raise ValueError(
                "Missing query bundle in extra info: a reranker must know the question. "
                "Pass query_bundle=QueryBundle(...) or query_str=..."
            )
        reranked: Nodes = []
        if not nodes:
            yield reranked
            return
        top_n, name = self.top_n or len(nodes), self.model_label
        dispatcher.event(ReRankStartEvent(query=bundle, nodes=nodes, top_n=top_n, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: bundle.query_str,
            EventPayload.TOP_K: top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload) as event:
            yield reranked
            event.on_end(payload={EventPayload.NODES: reranked})
        dispatcher.event(ReRankEndEvent(nodes=reranked))

    # ---- serialised ----

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings, without the key: whoever unpickles reads their own environment."""
        secrets = ("api_key", "callback_manager")  # the host leaves both out of `to_dict`
        fields = self.model_fields_set - set(secrets)
        return {"__dict__": {name: value for name, value in self.__dict__.items() if name in fields}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make it again; see `__getstate__`."""
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # how every BaseComponent is restored
