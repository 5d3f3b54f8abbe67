"""What LlamaIndex calls an image, opened: a path, bytes or a file in memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError


def open_image(image: Any) -> Image.Image:
    """An image as RGB.

    Raises:
        FileNotFoundError: there is no file at the path.
        ValueError: what is there is no image, or it is a URL.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    source = image
    if isinstance(image, (bytes, bytearray)):
        source = io.BytesIO(image)
    elif isinstance(image, (str, Path)):
        source = Path(str(image)).expanduser()
        if "://" in str(image):
            raise ValueError(f"an image must be a local file, got {image!r}. Download it first.")
        if not source.is_file():
            raise FileNotFoundError(f"an image must be a file, got {str(image)!r}. Check the path.")
    try:
        with Image.open(source) as opened:
            return opened.convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError(f"an image must be one that Pillow reads, got {image_name(image)}.") from error


def image_name(image: Any) -> str:
    """A word for people and events: the path, or what kind of object it is; never the bytes."""
    return str(image) if isinstance(image, (str, Path)) else f"<{type(image).__name__}>"
