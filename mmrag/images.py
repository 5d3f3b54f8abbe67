"""Any picture as upright RGB on white, as paper is."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from PIL import Image, ImageOps
from PIL import Image as PILImage

from mmrag.errors import DocumentError
from mmrag.types import Page

Render = Callable[[Page, int], Image.Image]
"""Draw a page within a number of pixels."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as upright RGB on white.

    EXIF orientation is applied. 16-bit samples are scaled by the depth that is used; 32-bit and float ones
    by the picture's own range.
    """
    upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    if mode.startswith("I;16"):
        # 12-bit pictures are stored as 16-bit ones: the depth is that of the lightest sample
        depth = max(8, int(_range(upright)[1]).bit_length())
        return upright.point(lambda value: value / 2 ** (depth - 8)).convert("L").convert("RGB")
    if mode in ("I", "F"):
        low, high = _range(upright)
        span = (high - low) or 1.0
        return (
            upright.convert("F")
            .point(lambda value: value * (255 / span) - low * 255 / span)
            .convert("L")
            .convert("RGB")
        )
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return upright.convert("RGB")


def _range(image: Image.Image) -> tuple[float, float]:
    """Smallest and largest sample of a one-band picture."""
    low, high = image.getextrema()
    if isinstance(low, tuple) or isinstance(high, tuple):
        raise ValueError("one band expected")
    return float(low), float(high)


LARGEST_PNG = 1_000_000  # bytes; a page that is a photograph is sent as JPEG


JPEG_QUALITY = 90


def data_url(image: Image, pixels: int) -> str:
    """A picture as a data URL, at most `pixels` in area: PNG, or JPEG where PNG is over 1 MB."""
    image = _flat(image)
    scale = (pixels / (image.width * image.height)) ** 0.5
    if scale < 1:
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        image = image.resize(size, PILImage.Resampling.LANCZOS)
    kind, data = "png", _encoded(image, "PNG")
    if len(data) > LARGEST_PNG:
        kind, data = "jpeg", _encoded(image, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _flat(image: Image) -> Image:
    """The picture in RGB; what is transparent becomes white, as paper is."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = PILImage.new("RGBA", rgba.size, "white")
        return PILImage.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _encoded(image: Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def load_image(source: str | os.PathLike[str] | bytes | io.BytesIO | Image) -> Image:
    """The picture behind a path, ``file:`` or ``data:`` URI, bytes or PIL image, decoded.

    Nothing is downloaded.

    Raises:
        FileNotFoundError: there is no such file.
        DocumentError: it is no picture that can be read.
        ValueError: an address on the network.
        TypeError: something else was given.
    """
    import PIL.Image

    if isinstance(source, PIL.Image.Image):
        return source
    try:
        picture = PIL.Image.open(_opened(source))
        picture.load()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"an image must be there to be read, got {_shown(source)}.") from error
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        if isinstance(error, ValueError) and not isinstance(error, binascii.Error):
            raise
        raise DocumentError(f"an image must be readable, got {_shown(source)}: {error}.") from error
    return picture


def _opened(source: Any) -> Path | io.BytesIO:  # noqa: ANN401  told apart here
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
            raise ValueError(f"a data URI of an image must be base64, got {_shown(source)}.")
        return io.BytesIO(base64.b64decode(body, validate=True))
    if text.startswith(("http://", "https://")):
        raise ValueError(f"an image must be on this machine, got {text}. Download it and pass its path.")
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    return Path(text).expanduser()


def _shown(source: object) -> str:
    text = repr(source)
    return text if len(text) <= 120 else f"{text[:100]}..."
