from __future__ import annotations

import base64
import copy
import json

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, convert_to_openai_messages

from langchain_mmrag import cite_documents, documents_to_content_blocks

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


def test_a_mark_of_a_document_not_shown_is_an_error(page) -> None:
    for answer in ("Fell [2].", "Fell [0]."):
        with pytest.raises(ValueError, match=r"may cite \[1\] to \[1\]"):
            cite_documents(answer, [page])


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
