"""Every kind of picture and of input that a caller may bring."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import mmrag.models.inputs as inputs
from mmrag.embedders.base import Content
from mmrag.errors import BadInputError
from mmrag.models.inputs import Item, document_item, query_item, ready_image
from mmrag.types import Page, Query, Source

RED, WHITE, GRAY = (255, 0, 0), (255, 255, 255), (128, 128, 128)


def page(text: str, image: Image.Image | None = None, *, total: int = 3, source: str = "layer") -> Page:
    file = Source(sha256="ab" * 32, kind="pdf", name="my_tower.pdf")
    return Page("p", "d", 0, "1", text, (), (612, 792), file, total, source, image=image)


def reopened(image: Image.Image, format: str, **options) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def with_transparency() -> Image.Image:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 255, 0] * 256)
    image.info["transparency"] = 0
    return image


def rotated() -> Image.Image:
    """Red above white in the file, and marked as to be turned by a quarter."""
    image = Image.new("RGB", (8, 16), WHITE)
    image.paste(RED, (0, 0, 8, 8))
    image.getexif()[0x0112] = 6
    return image


def animation() -> Image.Image:
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), WHITE)]
    return reopened(frames[0], "GIF", save_all=True, append_images=frames[1:])


def deep(value: int) -> Image.Image:
    return Image.fromarray(np.full((8, 8), value, dtype=np.uint16))


KINDS = {
    "grey": (Image.new("L", (8, 8), 128), GRAY),
    "grey with alpha": (Image.new("LA", (8, 8), (0, 0)), WHITE),
    "alpha": (Image.new("RGBA", (8, 8), (0, 0, 255, 0)), WHITE),
    "half alpha": (Image.new("RGBA", (8, 8), (0, 0, 0, 127)), GRAY),
    "palette": (Image.new("RGB", (8, 8), RED).convert("P"), RED),
    "palette with a hole": (with_transparency(), WHITE),
    "cmyk": (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), RED),
    "bilevel": (Image.new("1", (8, 8), 1), WHITE),
    "16 bit": (deep(65535), WHITE),
    "12 bit in 16": (deep(4095), WHITE),
    "float": (Image.new("F", (8, 8), 0.5), (0, 0, 0)),
    "ycbcr": (Image.new("RGB", (8, 8), RED).convert("YCbCr"), (254, 0, 0)),
    "animated": (animation(), RED),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_rgb_on_white(kind):
    image, colour = KINDS[kind]
    made = ready_image(image)
    assert made.mode == "RGB" and made.size == (8, 8)
    np.testing.assert_allclose(made.getpixel((4, 4)), colour, atol=1)


def test_a_turned_photograph_stands_upright():
    made = ready_image(rotated())
    assert made.size == (16, 8)
    assert made.getpixel((12, 4)) == RED and made.getpixel((3, 4)) == WHITE


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match=f"must have pixels, got {size[0]} x {size[1]}"):
        ready_image(Image.new("RGB", size))


def test_the_longest_picture_taken():
    assert ready_image(Image.new("RGB", (1, 200))).size == (1, 200)
    with pytest.raises(ValueError, match=r"at most 200 times as long as wide, got 402 x 2\. Cut it"):
        ready_image(Image.new("RGB", (402, 2)))


def test_a_huge_png_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(inputs, "MAX_PIXELS", 10_000)
    image = reopened(Image.new("1", (200, 100)), "PNG")
    with pytest.raises(ValueError, match="got 200 x 100: at most 10000 pixels are decoded"):
        ready_image(image)
    assert image.tile, "it was decoded"


def test_a_huge_jpeg_is_decoded_smaller_and_stays_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(inputs, "MAX_PIXELS", 10_000)
    for source in (tmp_path / "a.jpg", io.BytesIO()):
        Image.new("RGB", (400, 200), RED).save(source, "JPEG")
        image = Image.open(source)
        made = ready_image(image)
        assert made.size == (100, 50)
        assert image.size == (400, 200) and image.convert("RGB").size == (400, 200)
    Image.new("RGB", (4000, 2000), RED).save(tmp_path / "b.jpg")
    with pytest.raises(ValueError, match="got 4000 x 2000: at most 10000"):
        ready_image(Image.open(tmp_path / "b.jpg"))


def test_a_large_picture_in_memory_is_taken(monkeypatch):
    monkeypatch.setattr(inputs, "MAX_PIXELS", 10_000)
    assert ready_image(Image.new("RGB", (200, 100))).size == (200, 100)


def test_a_broken_file_says_so():
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(buffer, "PNG")
    broken = Image.open(io.BytesIO(buffer.getvalue()[:2000]))
    with pytest.raises(ValueError, match="an image must be readable, got 200 x 200"):
        ready_image(broken)


# --- what an input is made of


def test_a_page_is_its_picture_and_its_words_only_where_asked():
    image = Image.new("RGB", (8, 8))
    layer, ocr = page("words", image), page("words", image, source="ocr")
    both, alone = Item((image, "words"), "i"), Item((image,), "i")
    assert document_item(layer, 0, "i", False) == alone
    assert document_item(layer, 0, "i", True) == document_item(layer, 0, "i", "auto") == both
    assert document_item(ocr, 0, "i", "auto") == alone
    assert document_item(ocr, 0, "i", True) == both


def test_a_page_without_a_picture_is_its_words():
    assert document_item(page("words"), 0, "", False) == Item(("words",))
    assert document_item(page("", total=1), 0, "", False) == Item(("my tower",))
    assert document_item(page(""), 0, "", False) == Item(())


def test_parts_are_text_and_picture_for_embedders_that_know_no_parts():
    first, second = Image.new("RGB", (8, 8)), Image.new("RGB", (9, 9))
    for made in (Content(parts=("a", first, "b", second)), Query(parts=("a", first, "b", second))):
        assert (made.text, made.image) == ("a\nb", first)
    assert document_item(Content(parts=("a", first, "b", second)), 0, "", False).parts == (
        "a", first, "b", second,
    )  # fmt: skip
    assert query_item(Query(parts=(first, "b")), 0, "").parts == (first, "b")
    with pytest.raises(ValueError, match="parts must be given without text and image, got parts and a text"):
        Content("x", parts=("a",))
    with pytest.raises(ValueError, match="got parts and an image"):
        Query(image=second, parts=("a", first))
    with pytest.raises(ValueError, match="must have text or an image"):
        Query(parts=(" ",))


def test_an_instruction_of_its_own_comes_first():
    assert query_item("q", 0, "mine").instruction == "mine"
    assert query_item(Query("q", instruction=""), 0, "mine").instruction == ""
    assert query_item(Query("q", instruction="own"), 0, "mine").instruction == "own"
    assert document_item(Content("d", instruction="own"), 0, "mine", False).instruction == "own"
    assert document_item(Content("d"), 0, "mine", False).instruction == "mine"


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (query_item, None, "a query must be str or Query, got NoneType at 3"),
        (query_item, Query(image=b"no picture"), "a query's image must be a PIL image, got bytes at 3"),
        (document_item, None, "a document must be str, Page or Content, got NoneType at 3"),
        (document_item, Image.new("RGB", (8, 8)), r"got Image at 3\. Wrap it: Content\(image=\.\.\.\)"),
        (document_item, Content(image="a.png"), "must be a PIL image, got str at 3. mmrag.images.load_image"),
    ],
)  # fmt: skip
def test_what_is_no_input_is_named_with_its_place(make, given, words):
    more = (False,) if make is document_item else ()
    with pytest.raises(TypeError, match=words):
        make(given, 3, "", *more)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_question_is_refused_with_its_place(text):
    with pytest.raises(BadInputError, match="query 5: a query must have text or an image") as caught:
        query_item(text, 5, "")
    assert caught.value.index == 5 and caught.value.reason.startswith("a query must have")
