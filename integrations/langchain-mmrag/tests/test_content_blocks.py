from __future__ import annotations

import base64
import copy
import json

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, convert_to_openai_messages

from langchain_mmrag import cite_documents, documents_to_content_blocks, message_citations

BOX = [0.1, 0.2, 0.3, 0.4]


@pytest.fixture
def page(swatches) -> Document:
    return Document(
        "Net sales fell.",
        id="abc#p3",
        metadata={
            "source": "/reports/a.pdf",
            "file_name": "a.pdf",
            "page": 3,
            "page_label": "2",
            "image_path": str(swatches["red"]),
            "bbox": json.dumps([BOX]),
            "relevance_score": 1.5,
        },
    )


def test_citations_of_a_message_are_plain() -> None:
    pages = [Document("Twenty days.", metadata={"file_name": "a.pdf", "page": n}) for n in range(2)]
    message = cite_documents("Twenty [2], or so [1].", pages)
    found = message_citations(message)
    assert [citation["extras"]["page"] for citation in found] == [1, 0]
    assert found == message.content_blocks[0]["annotations"]
    assert message_citations(AIMessage("Twenty [2].")) == []


def test_a_page_is_a_numbered_heading_its_text_and_its_picture(page, swatches) -> None:
    text, image = documents_to_content_blocks([page])
    assert text == {"type": "text", "text": "[1] a.pdf, page 4 (label 2)\nNet sales fell."}
    assert base64.b64decode(image["base64"]) == swatches["red"].read_bytes()
    assert image["mime_type"] == "image/png"
    assert (image["extras"]["page"], image["extras"]["bbox"]) == (3, [BOX])


def test_openai_form_has_the_picture_and_nothing_else(page) -> None:
    """Servers refuse keys that they do not know."""
    (message,) = convert_to_openai_messages([HumanMessage(documents_to_content_blocks([page]))])
    text, image = message["content"]
    assert set(text) == {"type", "text"}
    assert set(image) == {"type", "image_url"} and set(image["image_url"]) == {"url"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")


def test_text_or_pictures_can_be_left_out(page) -> None:
    assert [block["type"] for block in documents_to_content_blocks([page], images=False)] == ["text"]
    heading, image = documents_to_content_blocks([page], text=False)
    assert (heading["text"], image["type"]) == ("[1] a.pdf, page 4 (label 2)", "image")


def test_documents_that_are_no_pages_are_numbered_too(page) -> None:
    others = [
        Document("A note.", metadata={"source": "notes.txt"}),
        Document("Bare.", id="x"),
        Document("Bare."),
    ]
    blocks = documents_to_content_blocks([*others, page])
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    assert texts[:3] == ["[1] notes.txt\nA note.", "[2] x\nBare.", "[3] text\nBare."]
    assert texts[3].startswith("[4] a.pdf")
    assert documents_to_content_blocks([]) == []


def test_an_image_in_metadata_by_url_or_data_uri_is_shown() -> None:
    documents = [
        Document("a", metadata={"image": "https://example.org/a.png"}),
        Document("b", metadata={"image": "data:image/jpeg;base64,QUJD"}),
    ]
    images = [b for b in documents_to_content_blocks(documents) if b["type"] == "image"]
    assert images[0]["url"] == "https://example.org/a.png"
    assert (images[1]["base64"], images[1]["mime_type"]) == ("QUJD", "image/jpeg")


def test_a_mark_becomes_a_citation_with_page_and_boxes(page) -> None:
    message = cite_documents("Sales fell [2], see [1].", [Document("x", metadata={"source": "n.txt"}), page])
    (block,) = message.content_blocks
    first, second = block["annotations"]
    assert block["text"][first["start_index"] : first["end_index"]] == "[2]"
    assert first["title"] == "a.pdf, page 4 (label 2)" and first["url"] == "file:///reports/a.pdf"
    extras = first["extras"]
    assert (extras["page"], extras["page_label"], extras["bbox"]) == (3, "2", [BOX])
    assert extras["document_id"] == "abc#p3"
    assert (second["title"], second["url"]) == ("n.txt", "n.txt")


def test_several_numbers_in_one_mark_are_several_citations_and_a_year_is_none(page) -> None:
    message = cite_documents("Fell in [2024] [1, 2].", [page, Document("x", id="x")])
    first, second = message.content_blocks[0]["annotations"]
    assert first["start_index"] == second["start_index"] == 15
    assert [first["extras"]["document_id"], second["extras"]["document_id"]] == ["abc#p3", "x"]


def test_boxes_of_another_loader_are_kept_as_they_are() -> None:
    document = Document("a", metadata={"bbox": [1, 2, 3, 4]})
    (citation,) = cite_documents("[1]", [document]).content_blocks[0]["annotations"]
    assert citation["extras"]["bbox"] == [1, 2, 3, 4]


def test_an_answer_of_a_model_is_taken_as_it_is(page) -> None:
    written = AIMessage([{"type": "text", "text": "Fell [1]."}])
    assert cite_documents(written, [page]).text == "Fell [1]."
    assert cite_documents("No marks.", []).content_blocks == [
        {"type": "text", "text": "No marks.", "annotations": []}
    ]


@pytest.mark.parametrize("text", ["Fell [2].", "Fell [0].", "Fell [1, 7]."])
def test_a_mark_of_a_document_not_shown_is_noted_or_refused(page, text) -> None:
    (block,) = cite_documents(text, [page]).content_blocks
    mark = text[text.index("[") : -1]
    assert block["text"] == text
    assert block["extras"] == {"notes": [f"{mark} names no document that was shown"]}
    assert len(block["annotations"]) == ("1" in mark)
    with pytest.raises(ValueError, match=r"may cite \[1\] to \[1\]"):
        cite_documents(text, [page], strict=True)


def test_a_bracket_that_a_document_prints_is_no_citation() -> None:
    papers = [Document("Trams stop here."), Document("It beats ColBERT [1] by 3 %, see [12] there.")]
    (block,) = cite_documents("It beats ColBERT [1] by 3 % [2], see [12] there.", papers).content_blocks
    assert [(c["start_index"], c["end_index"]) for c in block["annotations"]] == [(28, 31)]
    assert "extras" not in block


@pytest.mark.parametrize("provider", [None, "openai", "anthropic"])
def test_what_is_not_text_stays_as_the_model_said_it(page, provider) -> None:
    """Ids, token counts and tool calls belong to the host; every text block has its own places."""
    metadata = {"finish_reason": "stop"} | ({"model_provider": provider} if provider else {})
    said = AIMessage(
        content_blocks=[
            {"type": "reasoning", "reasoning": "[1] says so"},
            {"type": "text", "text": "Fell [1]."},
            {"type": "text", "text": "[1] again", "id": "t2"},
        ],
        id="run-1",
        name="helper",
        usage_metadata={"input_tokens": 9, "output_tokens": 7, "total_tokens": 16},
        response_metadata={**metadata, "output_version": "v1"},
        additional_kwargs={"refusal": None},
        tool_calls=[{"name": "search", "args": {"q": "leave"}, "id": "t1"}],
    )
    before = said.model_copy(deep=True)
    cited = cite_documents(said, [page])
    assert said == before
    for name in ("id", "name", "usage_metadata", "response_metadata", "additional_kwargs", "tool_calls"):
        assert getattr(cited, name) == getattr(said, name)
    reasoning, *texts = cited.content_blocks[:3]
    assert reasoning == said.content_blocks[0]
    assert [(c["start_index"], c["end_index"]) for text in texts for c in text["annotations"]] == [
        (5, 8),
        (0, 3),
    ]
    assert texts[1]["id"] == "t2"


def test_an_openai_answer_keeps_our_citations() -> None:
    """LangChain translates a provider's blocks when they are read; ours must be read as they are."""
    said = AIMessage("Fell [1].", response_metadata={"model_provider": "openai"}, id="run-2")
    cited = cite_documents(said, [Document("Sales fell.", metadata={"source": "a.txt"})])
    assert cited.content_blocks[0]["annotations"][0]["type"] == "citation"
    assert (cited.id, cited.text) == ("run-2", "Fell [1].")


def test_bad_input_is_named_and_the_documents_unharmed(page) -> None:
    gone = Document("x", metadata={**page.metadata, "image_path": "/no/such.png"})
    empty = Document("  ", metadata={"source": "blank.pdf"})
    before = copy.deepcopy([page, gone, empty])
    with pytest.raises(FileNotFoundError, match=r"image_path of document \[2\] must be a file, got /no/such"):
        documents_to_content_blocks([page, gone])
    with pytest.raises(ValueError, match=r"document \[2\] must have text or a picture.*blank\.pdf"):
        documents_to_content_blocks([page, empty])
    with pytest.raises(TypeError, match="must be LangChain Documents, got str"):
        documents_to_content_blocks(["a page"])
    with pytest.raises(TypeError, match="must be LangChain Documents, got dict"):
        cite_documents("x", [{}])
    documents_to_content_blocks([page])
    cite_documents("[1]", [page])
    assert [page, gone, empty] == before
