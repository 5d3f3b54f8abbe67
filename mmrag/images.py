"""Images as the rest of the package wants them: loaded, upright RGB on white, sent as a data URL.

Whatever is decoded is of a format that Pillow decodes by itself, and is measured before its pixels are read.
A name is opened where Python code gives it, never where it stands in a message (`message_image`).

A component that shows pages to a model draws them by a `Render` function. `ShowsPages` is the protocol of
such a component, and `with_page_renderer` gives it a function where its user has set none.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable
from urllib.parse import unquote, urlsplit

from PIL import Image, ImageChops, ImageOps, ImageStat

from mmrag.errors import DocumentError
from mmrag.types import Page

Component = TypeVar("Component")

Render = Callable[[Page, int], Image.Image]
"""Draws a page within a number of pixels."""

Decode = Callable[[bytes], Image.Image]
"""Decodes a picture file, such as in another process."""

FORMATS = (
    "PNG", "JPEG", "JPEG2000", "TIFF", "WEBP", "GIF", "BMP", "DIB", "PPM", "ICO", "PCX", "QOI", "AVIF",
)  # fmt: skip
"""Formats that Pillow decodes by itself; none that starts another program (EPS, WMF)."""

MESSAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
"""Formats of pictures in messages: those that chats use, whose header tells the size that is decoded."""

_MESSAGE_SIGNS = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP|GIF8[79]a|BM|....ftyp(?:avi[fs]|mif1|msf1)", re.DOTALL
)
"""What a file of `MESSAGE_FORMATS` begins with."""

MOST_PIXELS = 90_000_000
"""Largest picture decoded, as `mmrag.documents.ReaderSettings` has it."""

MESSAGE_PIXELS = 50_000_000
"""Largest picture of a message: decoded in this process, as 200 MB at most."""

LARGEST_PNG = 1_000_000
"""Bytes of a PNG in a data URL; a page that is a photograph is larger and becomes a JPEG."""

JPEG_QUALITY = 90

DARK_GAIN = 2.0
"""A transparent picture is laid on black where this many times as much can be seen as on white."""

LOOK_PIXELS = 2_000_000
"""Size at which a transparent picture is looked at for that."""

TRANSPARENT_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


@runtime_checkable
class ShowsPages(Protocol):
    """A reranker, answerer or trace writer that shows pictures of pages to a model."""

    @property
    def render(self) -> Render | None:
        """Return the function that draws pages, or None if none is set."""
        ...

    def with_render(self, render: Render) -> ShowsPages:
        """Return a copy that draws pages by `render`."""
        ...


def with_page_renderer(component: Component, render: Render) -> Component:
    """Return `component`, or a copy that draws by `render` if it shows pages and has no renderer yet."""
    if isinstance(component, ShowsPages) and component.render is None:
        return cast("Component", component.with_render(render))
    return component


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to upright RGB; what is transparent becomes white, as paper is.

    A picture of light on nothing, which would be lost on white, is laid on black.

    EXIF orientation is applied. 16-bit samples are scaled by the depth in use; 32-bit and float samples by
    the image's own range.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        # 12-bit images are stored as 16-bit ones: the depth is that of the lightest sample
        depth = max(8, int(_range(upright)[1]).bit_length())
        return upright.point(lambda value: value / 2 ** (depth - 8)).convert("L").convert("RGB")
    if upright.mode in ("I", "F"):
        low, high = _range(upright)
        scale = 255 / ((high - low) or 1.0)
        grey = upright.convert("F").point(lambda value: value * scale - low * scale).convert("L")
        return grey.convert("RGB")
    if upright.mode in TRANSPARENT_MODES or "transparency" in upright.info:
        straight = upright.convert("LA") if upright.mode == "La" else upright  # Pillow has no La to RGBA
        return _on_paper(straight.convert("RGBA"))
    return upright.convert("RGB")


def _on_paper(layer: Image.Image) -> Image.Image:
    """Put a transparent picture on white, as on paper; on black if it can be seen far better there.

    Light letters on nothing would be lost on white. What can be seen is measured by the differences between
    neighbours: a sheet of paper with dark letters and a transparent rim is as good on either.
    """
    if layer.getchannel("A").getextrema() == (255, 255):
        return layer.convert("RGB")
    small = layer.reduce(max(1, round((layer.width * layer.height / LOOK_PIXELS) ** 0.5)))
    on_white, on_black = (_differences(_laid_on(colour, small)) for colour in ("white", "black"))
    return _laid_on("black" if on_black > DARK_GAIN * on_white else "white", layer)


def _laid_on(colour: str, layer: Image.Image) -> Image.Image:
    """Put a transparent picture on a colour."""
    return Image.alpha_composite(Image.new("RGBA", layer.size, colour), layer).convert("RGB")


def _differences(image: Image.Image) -> float:
    """Sum the differences in grey between neighbours, across and down."""
    grey = image.convert("L")
    width, height = grey.size
    pairs = (
        ((1, 0, width, height), (0, 0, width - 1, height)),
        ((0, 1, width, height), (0, 0, width, height - 1)),
    )
    total = 0.0
    for first, second in pairs:
        if first[2] > first[0] and first[3] > first[1]:
            total += ImageStat.Stat(ImageChops.difference(grey.crop(first), grey.crop(second))).sum[0]
    return total


def _range(image: Image.Image) -> tuple[float, float]:
    """Return the smallest and the largest sample of an image with one band."""
    low, high = image.getextrema()
    if isinstance(low, tuple) or isinstance(high, tuple):
        raise ValueError(f"an image must have one band to have a range, got mode {image.mode!r}.")
    return float(low), float(high)


def data_url(image: Image.Image, pixels: int, *, lossless: bool = False) -> str:
    """Encode an image as a data URL.

    Args:
        image: any mode.
        pixels: largest area; a larger image is scaled down.
        lossless: always PNG. False: JPEG where the PNG would be over `LARGEST_PNG`.
    """
    image = to_rgb(image)
    scale = (pixels / (image.width * image.height)) ** 0.5
    if scale < 1:
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    kind, data = "png", _file_bytes(image, "PNG")
    if len(data) > LARGEST_PNG and not lossless:
        kind, data = "jpeg", _file_bytes(image, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _file_bytes(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def load_image(
    source: str | os.PathLike[str] | bytes | io.BytesIO | Image.Image,
    *,
    max_pixels: int = MOST_PIXELS,
    formats: Sequence[str] = FORMATS,
) -> Image.Image:
    """Load an image from a path, ``file:`` or ``data:`` URI, bytes or a PIL image, and decode it.

    Nothing is downloaded, and no other program is started.

    Args:
        source: a PIL image is returned as it is.
        max_pixels: a larger picture is refused before it is decoded.
        formats: Pillow's names of the formats that are read.

    Raises:
        FileNotFoundError: there is no such file.
        DocumentError: it cannot be read as an image of these formats, or is too large.
        ValueError: an address on the network.
        TypeError: another type.
    """
    if isinstance(source, Image.Image):
        return source
    try:
        file = _file_of(source)
    except binascii.Error as error:
        raise DocumentError(f"an image must be readable, got {_short(source)}: {error}.") from error
    try:
        image = _open(file, formats)
        _check_pixels(image, max_pixels, source)
        image.load()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"an image must be there to be read, got {_short(source)}.") from error
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # of Pillow's decoders, which raise anything over damaged data
        raise DocumentError(f"an image must be readable, got {_short(source)}: {error}.") from error
    return image


def message_image(source: object, decode: Decode | None = None) -> Image.Image:
    """Load the image of a message, whose text may come from anyone: data, or what only Python code can make.

    Args:
        source: a ``data:`` URI; or bytes, a `pathlib.Path` or a PIL image, which are no texts.
        decode: decodes data, by itself within limits of size. None: here, at most `MESSAGE_PIXELS`.

    Raises:
        ValueError: any other text, such as a path, a ``file:`` URI or an address on the network.
        DocumentError: it cannot be read as an image, or is too large.
    """
    if isinstance(source, str) and not source.startswith("data:"):
        raise ValueError(
            f"an image in a message must be a data URI, got {_short(source)}: names there are not opened. "
            "For a file of yours pass pathlib.Path(...), or mmrag.images.load_image(...)."
        )
    if decode is not None and isinstance(source, (str, bytes, bytearray, io.BytesIO)):
        return decode(_message_bytes(source))
    if isinstance(source, (str, bytes, bytearray, io.BytesIO)):
        return load_image(cast("Any", source), max_pixels=MESSAGE_PIXELS, formats=MESSAGE_FORMATS)
    return load_image(cast("Any", source))


def _message_bytes(source: object) -> bytes:
    """Return the bytes of a picture in a message, told by their first ones alone: no decoder sees them here.

    Raises:
        DocumentError: they begin no file of `MESSAGE_FORMATS`.
    """
    try:
        file = _file_of(source)
    except binascii.Error as error:
        raise DocumentError(f"an image must be readable, got {_short(source)}: {error}.") from error
    data = cast("io.BytesIO", file).getvalue()
    if not _MESSAGE_SIGNS.match(data):
        raise DocumentError(
            f"an image must be readable, got {_short(source)}: it must be {', '.join(MESSAGE_FORMATS)}."
        )
    return data


def check_image_file(path: Path) -> None:
    """Read the header of a file, to be sure that it is a picture.

    Raises:
        DocumentError: it is none of the formats that are read.
    """
    try:
        _open(path, FORMATS).close()
    except Exception as error:  # of Pillow's plugins, which raise anything over damaged data
        raise DocumentError(f"an image must be readable, got {_short(str(path))}: {error}.") from error


def _open(file: Path | io.BytesIO, formats: Sequence[str]) -> Image.Image:
    Image.init()  # loads the plugins; which there are depends on Pillow's version and build
    return Image.open(file, formats=[name for name in formats if name in Image.OPEN])


def _check_pixels(image: Image.Image, most: int, source: object) -> None:
    """Refuse a picture over the limit.

    Raises:
        DocumentError: it has more pixels.
    """
    if image.width * image.height > most:
        raise DocumentError(
            f"an image must have at most {most} pixels, got {image.width} x {image.height} "
            f"of {_short(source)}. Make it smaller first."
        )


def _file_of(source: Any) -> Path | io.BytesIO:  # noqa: ANN401  every type is checked here
    if isinstance(source, (bytes, bytearray)):
        return io.BytesIO(source)
    if isinstance(source, io.BytesIO):
        return io.BytesIO(source.getvalue())  # the caller's position stays where it is
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"an image must be a path, a URI, bytes or a PIL image, got {type(source).__name__}.")
    text = os.fspath(source)
    if text.startswith("data:"):
        head, _, body = text.partition(",")
        if not head.endswith(";base64"):
            raise ValueError(f"a data URI of an image must be base64, got {_short(source)}.")
        return io.BytesIO(base64.b64decode(body, validate=True))
    if text.startswith(("http://", "https://")):
        raise ValueError(f"an image must be on this machine, got {text}. Download it and pass its path.")
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    return Path(text).expanduser()


def _short(source: object) -> str:
    text = repr(source)
    return text if len(text) <= 120 else f"{text[:100]}..."
