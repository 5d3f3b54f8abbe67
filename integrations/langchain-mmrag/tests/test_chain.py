"""End to end: sample PDFs, a store on disk, an LCEL chain, a chat model, citations with page and boxes."""

from __future__ import annotations

import re

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnablePassthrough

from langchain_mmrag import MMRagRetriever, cite_documents, documents_to_content_blocks

QUESTION = "What were the net sales of Environmental Sensing in 2024?"
VALUE = "287.9"  # stands in a table of the annual report


class Reader(BaseChatModel):
    """Cites the first page shown whose text holds `VALUE`; says so where none does.

    The host's fakes answer without reading; here the answer must come from the pages in the message.
    """

    @property
    def _llm_type(self) -> str:
        return "reader"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        texts = [block["text"] for block in messages[-1].content if block["type"] == "text"]
        numbers = [
            re.match(r"\[(\d+)\]", text)[1] for text in texts if VALUE in text and text.startswith("[")
        ]
        said = f"${VALUE} million [{numbers[0]}]." if numbers else "Not in these pages."
        return ChatResult(generations=[ChatGeneration(message=AIMessage(said))])


def chain(retriever: MMRagRetriever):
    def ask(state: dict) -> list[HumanMessage]:
        blocks = documents_to_content_blocks(state["documents"])
        return [HumanMessage([*blocks, {"type": "text", "text": state["question"]}])]

    return (
        {"documents": retriever, "question": RunnablePassthrough()}
        | RunnablePassthrough.assign(answer=ask | Reader())
        | (lambda state: cite_documents(state["answer"], state["documents"]))
    )


def check(message: AIMessage) -> None:
    (block,) = message.content_blocks
    (citation,) = block["annotations"]
    assert block["text"].startswith(f"${VALUE} million [")
    place = citation["extras"]
    assert (place["file_name"], place["page"], place["page_label"]) == (
        "harbor-annual-report-2024.pdf",
        3,
        "2",
    )
    assert place["bbox"] and all(0 <= x <= 1 for box in place["bbox"] for x in box)


def test_a_question_is_answered_with_page_and_boxes(samples) -> None:
    check(chain(MMRagRetriever(qa=samples, k=4, evidence=True)).invoke(QUESTION))


async def test_the_same_without_blocking(samples) -> None:
    check(await chain(MMRagRetriever(qa=samples, k=4, evidence=True)).ainvoke(QUESTION))


def test_a_batch_keeps_its_order(samples) -> None:
    answering = chain(MMRagRetriever(qa=samples, k=1, evidence=True, filter={"page": 3}))
    deck = chain(MMRagRetriever(qa=samples, k=1, filter={"file_name": "product-launch-deck.pdf"}))
    check(answering.batch([QUESTION, "Where is the harbour?"], {"max_concurrency": 2})[0])
    assert [message.text for message in deck.batch([QUESTION] * 2)] == ["Not in these pages."] * 2


@pytest.mark.parametrize("k", [1, 8])
def test_the_cited_page_is_the_one_shown_under_that_number(samples, k) -> None:
    documents = MMRagRetriever(qa=samples, k=k).invoke(QUESTION)
    message = cite_documents(f"See [{k}].", documents)
    assert message.content_blocks[0]["annotations"][0]["extras"]["document_id"] == documents[k - 1].id
