"""Laws of loading, converting and encoding images, and of components that show pages."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from mmrag.documents.image_renderer import ImageRenderer
from mmrag.errors import DocumentError
from mmrag.images import (
    FORMATS,
    Render,
    ShowsPages,
    check_image_file,
    data_url,
    load_image,
    message_image,
    to_rgb,
    with_page_renderer,
)
from mmrag.types import Page


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.png"
    Image.new("RGB", (4, 3), (255, 0, 0)).save(path)
    return path


def test_every_way_to_write_a_picture_is_the_same_picture(picture: Path) -> None:
    data = picture.read_bytes()
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    for source in (picture, str(picture), picture.as_uri(), uri, data, bytearray(data), io.BytesIO(data)):
        image = load_image(source)
        assert (image.size, image.convert("RGB").getpixel((1, 1))) == ((4, 3), (255, 0, 0))
    opened = Image.open(picture)
    assert load_image(opened) is opened


def test_a_stream_stays_where_it_is(picture: Path) -> None:
    stream = io.BytesIO(picture.read_bytes())
    stream.seek(5)
    load_image(stream)
    assert stream.tell() == 5


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("/no/such.png", FileNotFoundError, r"must be there to be read, got '/no/such\.png'"),
        (b"no picture", DocumentError, "must be readable, got b'no picture'"),
        ("data:image/png;base64,!!!", DocumentError, "must be readable"),
        ("data:image/png,x", ValueError, "must be base64"),
        ("http://example.org/a.png", ValueError, "Download it"),
        (7, TypeError, "bytes or a PIL image, got int"),
    ],
)
def test_what_is_no_picture_is_named(source: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_image(source)  # type: ignore[arg-type]


def test_a_cut_off_picture_is_refused_at_once_not_when_it_is_drawn(picture: Path) -> None:
    Image.effect_noise((200, 200), 90).save(picture)
    with pytest.raises(DocumentError, match="must be readable"):
        load_image(picture.read_bytes()[:2000])


def test_a_long_source_is_shown_short() -> None:
    with pytest.raises(DocumentError) as caught:
        load_image("data:image/png;base64," + "QUJD" * 1000)
    assert len(str(caught.value)) < 400


def decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((2000, 1000), (1414, 707)), ((100, 100), (100, 100)), ((1000, 1000), (1000, 1000))],
)
def test_images_keep_to_the_pixel_budget_and_are_never_made_larger(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    url = data_url(Image.new("RGB", size, "white"), 1_000_000)
    assert url.startswith("data:image/png;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size == expected


def test_a_photograph_becomes_a_jpeg_unless_it_must_be_lossless() -> None:
    noise = Image.effect_noise((900, 900), 80).convert("RGB")
    assert data_url(noise, 1_000_000).startswith("data:image/jpeg;base64,")
    exact = data_url(noise, 1_000_000, lossless=True)
    assert exact.startswith("data:image/png;base64,")
    assert decoded(exact).tobytes() == noise.tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0)).convert("LA" if mode == "La" else "RGBA").convert(mode)
    if mode == "PA":
        clear.putalpha(0)  # Pillow before 11 does not carry it over
    assert to_rgb(clear).getcolors() == [(4, (255, 255, 255))]
    assert decoded(data_url(clear, 1_000_000)).getcolors() == [(4, (255, 255, 255))]


def test_a_photograph_taken_upright_is_sent_upright() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (30, 20), "red").save(buffer, "JPEG", exif=exif)
    assert decoded(data_url(load_image(buffer), 1_000_000)).size == (20, 30)


@dataclass(frozen=True)
class Viewer:
    """Shows pages."""

    render: Render | None = None

    def with_render(self, render: Render) -> Viewer:
        return replace(self, render=render)


def white(page: Page, pixels: int) -> Image.Image:
    return Image.new("RGB", (1, 1), "white")


def black(page: Page, pixels: int) -> Image.Image:
    return Image.new("RGB", (1, 1), "black")


def test_only_a_component_that_shows_pages_and_has_no_renderer_gets_one() -> None:
    bare, ready, blind = Viewer(), Viewer(black), object()
    assert with_page_renderer(bare, white) == Viewer(white)
    assert bare.render is None
    assert with_page_renderer(ready, white) is ready
    assert with_page_renderer(blind, white) is blind
    assert with_page_renderer(None, white) is None


def test_everything_of_ours_that_shows_pages_is_seen_to() -> None:
    from mmrag import ServedAnswerer, ThinkReranker
    from mmrag.rerank.traces import TraceWriter

    url = "http://127.0.0.1:9"
    for component in (ThinkReranker(url), ServedAnswerer(url), TraceWriter(url)):
        assert isinstance(component, ShowsPages)
        assert with_page_renderer(component, white).render is white


def letters(colour: tuple[int, int, int, int], size: tuple[int, int] = (300, 60)) -> Image.Image:
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    ImageDraw.Draw(layer).text((10, 10), "Paid in full", fill=colour, font=ImageFont.load_default(32))
    return layer


@pytest.mark.parametrize("grey", [0, 60, 128, 200, 235, 255])
def test_transparent_letters_of_any_colour_can_be_read(grey: int) -> None:
    picture = to_rgb(letters((grey, grey, grey, 255))).convert("L")
    low, high = picture.getextrema()
    assert high - low >= 120
    assert picture.getpixel((0, 0)) == (0 if grey > 170 else 255)


@pytest.mark.parametrize("colour", [(255, 255, 120, 255), (255, 255, 255, 200), (190, 255, 255, 255)])
def test_light_letters_are_laid_on_black(colour: tuple[int, int, int, int]) -> None:
    assert to_rgb(letters(colour)).getpixel((0, 0)) == (0, 0, 0)


def test_a_sheet_with_a_transparent_rim_stays_on_white() -> None:
    layer = Image.new("RGBA", (400, 500), (0, 0, 0, 0))
    layer.paste((255, 255, 255, 255), (20, 20, 380, 480))
    draw = ImageDraw.Draw(layer)
    for row in range(12):
        draw.text(
            (40, 40 + 35 * row), "A line of ordinary text", fill="black", font=ImageFont.load_default(20)
        )
    assert to_rgb(layer).getpixel((0, 0)) == (255, 255, 255)


def test_modes_with_transparency_follow_the_same_rule() -> None:
    light = letters((255, 255, 255, 255))
    grey = light.convert("LA")
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.paste(1, (10, 10, 30, 30))
    palette.info["transparency"] = 0
    assert to_rgb(grey).getpixel((0, 0)) == to_rgb(palette).getpixel((0, 0)) == (0, 0, 0)
    assert to_rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_no_other_format_is_read_whatever_a_file_is_called(tmp_path: Path) -> None:
    """Pillow saves and opens more than `FORMATS`: what is not listed is refused before a decoder sees it."""
    Image.init()
    others = sorted((Image.SAVE.keys() & Image.OPEN.keys()) - {*FORMATS, "MPO"})  # MPO: JPEGs in a row
    assert {"EPS", "TGA", "SGI"} <= set(others)
    tried = set()
    for name in others:
        buffer = io.BytesIO()
        try:
            Image.new("RGB" if name != "XBM" else "1", (16, 16)).save(buffer, name)
        except (OSError, ValueError, KeyError, AttributeError):
            continue  # a format of one mode, or that needs an encoder which is not there
        path = tmp_path / f"{name}.png"
        path.write_bytes(buffer.getvalue())
        for read in (load_image, message_image):
            with pytest.raises(DocumentError, match="must be readable"):
                read(buffer.getvalue())
        with pytest.raises(DocumentError, match="must be readable"):
            load_image(path)
        with pytest.raises(DocumentError, match="must be readable"):
            check_image_file(path)
        with pytest.raises(DocumentError):
            ImageRenderer(path.name, str(path), 1_000_000)
        tried.add(name)
    assert {"EPS", "TGA", "SGI"} <= tried
