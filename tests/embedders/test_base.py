"""Laws of the input checks that every embedder shares."""

import pytest
from PIL import Image

from mmrag.embedders.base import Content, as_document, as_query, check_batch, searchable_text
from mmrag.errors import BadInputError, UnsupportedInputError
from mmrag.types import Page, Query, Source

IMAGE = Image.new("RGB", (8, 8))
TEXT, PICTURES = frozenset({"text"}), frozenset({"image"})


def page(text: str, *, total: int = 1, image: Image.Image | None = None) -> Page:
    source = Source("0" * 64, "pdf", "Eiffel-tower_2019.pdf")
    return Page(
        source.page_id(0), source.document_id, 0, "1", text, (), (612, 792), source, total, image=image
    )


def test_text_becomes_a_query_or_a_content_and_the_rest_is_returned_as_it_is():
    assert as_query("rent", 0) == Query("rent")
    assert as_document("rent", 0) == Content("rent")
    for query in (Query("rent"), Query(image=IMAGE), Query(parts=("a", IMAGE))):
        assert as_query(query, 0) is query
    for document in (page(""), Content(), Content("rent", IMAGE), Content(parts=(IMAGE, "a"))):
        assert as_document(document, 0) is document


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_blank_query_is_refused_and_a_blank_document_is_not(text):
    with pytest.raises(BadInputError, match=r"query 5: a query must have text or an image, got '") as caught:
        as_query(text, 5)
    assert caught.value.index == 5
    assert as_document(text, 5) == Content(text)


def test_an_embedder_of_text_refuses_an_image_that_nothing_describes():
    with pytest.raises(
        UnsupportedInputError, match=r"reads text only, got an image in query 2\. Ask in words"
    ):
        as_query(Query("what is it?", IMAGE), 2, TEXT)
    with pytest.raises(
        UnsupportedInputError, match="reads text only, got an image without text as document 3"
    ):
        as_document(Content(" ", IMAGE), 3, TEXT)
    assert as_document(Content("caption", IMAGE), 3, TEXT).text == "caption"


def test_an_embedder_of_images_refuses_text_without_an_image():
    with pytest.raises(
        UnsupportedInputError, match="reads images only, got text without an image as document 1"
    ):
        as_document("rent", 1, PICTURES)
    for document in (Content("caption", IMAGE), Content(), "  "):
        as_document(document, 1, PICTURES)


@pytest.mark.parametrize("modalities", [TEXT, PICTURES])
def test_a_page_is_always_accepted(modalities):
    for given in (page(""), page("rent"), page("", image=IMAGE)):
        assert as_document(given, 0, modalities) is given


@pytest.mark.parametrize(
    ("check", "value", "words"),
    [
        (as_query, None, "a query must be str or Query, got NoneType at 3"),
        (as_query, Content("a"), "a query must be str or Query, got Content at 3"),
        (as_query, Query(image=b"bytes"), "a query's image must be a PIL image, got bytes at 3"),
        (as_query, Query(parts=("a", b"bytes")), "a query's image must be a PIL image, got bytes at 3"),
        (as_document, 7, "a document must be str, Page or Content, got int at 3"),
        (as_document, IMAGE, r"got Image at 3\. Wrap it: Content\(image=\.\.\.\)"),
        (as_document, Content(image="a.png"), r"got str at 3\. mmrag\.images\.load_image opens paths"),
        (as_document, Content(parts=(IMAGE, b"x")), "a document's image must be a PIL image, got bytes at 3"),
        (as_document, page("", image=b"x"), "a document's image must be a PIL image, got bytes at 3"),
    ],
)  # fmt: skip
def test_another_type_is_refused_with_its_position(check, value, words):
    with pytest.raises(TypeError, match=words):
        check(value, 3)


def test_a_batch_is_a_list_and_its_size_a_whole_number():
    check_batch([], None, "queries")
    check_batch(("a",), 1, "queries")
    for wrong in ("rent", b"rent", 3, None, {"a"}):
        with pytest.raises(TypeError, match=rf"queries must be a list, got {type(wrong).__name__}\. Wrap"):
            check_batch(wrong, 1, "queries")
    for size in (0, -1, True, 1.0, "8"):
        with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got"):
            check_batch(["a"], size, "documents")


def test_the_only_page_of_a_file_is_found_by_its_name_if_it_is_blank():
    assert searchable_text(page(" ")) == "Eiffel tower 2019"
    assert searchable_text(page("rent")) == "rent"
    assert searchable_text(page("", total=2)) == ""
    assert searchable_text(Content("")) == ""
