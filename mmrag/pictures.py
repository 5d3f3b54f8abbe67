"""Pictures as they go over the wire."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image as PILImage

if TYPE_CHECKING:
    from PIL.Image import Image

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
