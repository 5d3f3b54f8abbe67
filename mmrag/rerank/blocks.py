"""Text of a page or a question inside a prompt: it cannot close its block or speak as somebody else."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_PNG = 1_000_000  # bytes; a page that is a photograph is sent as JPEG

_TAG = re.compile(
    r"<(?=[/|!?A-Za-z\uff5c\u2581])|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\b)"
)


def block(name: str, text: str) -> str:
    """A text between ``<name>`` and ``</name>``, made harmless."""
    return f"<{name}>\n{harmless(text)}\n</{name}>"


def harmless(text: str) -> str:
    """The text with a space in whatever could be a tag of ours or a special token of a chat template.

    A server parses special tokens also where they stand in a page's text: ``<|im_end|>`` would end the
    user's turn, ``</document>`` the block. People read ``< |im_end|>`` as before.
    """
    return _TAG.sub(lambda match: match.group() + " ", text)


def picture_url(image: Image, pixels: int) -> str:
    """A picture as a data URL of at most `pixels` in area: PNG, or JPEG where PNG is over 1 MB."""
    from PIL import Image as PILImage

    picture = image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")  # what is transparent becomes white, as paper is
        picture = PILImage.alpha_composite(PILImage.new("RGBA", rgba.size, "white"), rgba)
    picture = picture.convert("RGB")
    scale = (pixels / (picture.width * picture.height)) ** 0.5
    if scale < 1:
        size = max(1, int(picture.width * scale)), max(1, int(picture.height * scale))
        picture = picture.resize(size, PILImage.Resampling.LANCZOS)
    kind, data = "png", _encoded(picture, "PNG")
    if len(data) > LARGEST_PNG:
        kind, data = "jpeg", _encoded(picture, "JPEG", quality=90)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(image: Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
