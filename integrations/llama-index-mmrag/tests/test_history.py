"""LlamaIndex's own chat engine over our query engine: its model condenses, our engine answers and cites."""

from __future__ import annotations

from llama_index.core.chat_engine import CondenseQuestionChatEngine
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
from pydantic import Field

from llama_index.query_engine.mmrag import MMRagCitationQueryEngine


class Condenser(CustomLLM):
    """A model that always rewrites to one question, and keeps what it was shown."""

    seen: list[str] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    def complete(self, prompt, formatted=False, **kwargs):
        self.seen.append(prompt)
        return CompletionResponse(text="What were the sales of Harbor?")

    def stream_complete(self, prompt, formatted=False, **kwargs):
        raise NotImplementedError


def test_a_follow_up_is_condensed_and_answered_with_pages(qa) -> None:
    model = Condenser()
    engine = MMRagCitationQueryEngine.from_args(qa, rerank=False, similarity_top_k=1)
    chat = CondenseQuestionChatEngine.from_defaults(query_engine=engine, llm=model)
    chat.chat("What does Harbor make?")
    response = chat.chat("And what did it sell?")
    assert "And what did it sell?" in model.seen[-1] and "What does Harbor make?" in model.seen[-1]
    assert response.source_nodes[0].node.metadata["file_name"] == "harbor.pdf"
    engine.close()
