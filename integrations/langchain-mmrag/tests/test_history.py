"""A retriever takes a conversation: its last question leans on what was said before."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_mmrag import MMRagRetriever, MMRagVectorStore

TEXTS = {
    "sales-2023": "Harbor pumps: in 2023 we sold 12 pumps in Galway.",
    "sales-2022": "Harbor pumps: in 2022 we sold 9 pumps in Galway.",
    "tea": "In 2022 green tea was steeped at 80 degrees.",
}
BEFORE = [
    SystemMessage("Be brief."),
    HumanMessage("How many pumps were sold in Galway in 2023?"),
    AIMessage("12"),
]
WAYS = [
    [*BEFORE, HumanMessage("And in 2022?")],
    {"input": "And in 2022?", "chat_history": BEFORE},
    {"question": "And in 2022?", "chat_history": [("human", BEFORE[1].content), ("ai", "12")]},
]


@pytest.fixture
def retriever(text_embeddings):
    with MMRagVectorStore.from_texts(list(TEXTS.values()), text_embeddings, ids=list(TEXTS)) as store:
        yield MMRagRetriever(qa=store, k=1, rerank=False)


@pytest.mark.parametrize("conversation", WAYS, ids=["messages", "input", "question"])
async def test_the_question_leans_on_what_was_said(retriever, conversation) -> None:
    assert retriever.invoke(conversation)[0].id == "sales-2022"
    assert (await retriever.ainvoke(conversation))[0].id == "sales-2022"


def test_a_first_message_is_a_question(retriever) -> None:
    assert retriever.invoke([HumanMessage("How hot is tea steeped?")])[0].id == "tea"


def test_a_history_without_a_question_is_refused(retriever) -> None:
    with pytest.raises(ValueError, match="beside 'chat_history' must stand"):
        retriever.invoke({"chat_history": BEFORE})
