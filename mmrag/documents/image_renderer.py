"""Picture files by Pillow: each frame of a TIFF is a page, any other file is one page.

Decisions taken here:

* Animations (GIF, WebP, APNG) are one page, the first frame; a note names the number of frames. An
  animation is a moving picture, not a document of many pages.
* EXIF orientation is applied. Transparency is laid on white, or on black where that shows more. 16-bit
  and float samples are scaled to 8 bits (16-bit by the depth that is used; 32-bit and float by the
  picture's own range).
* A picture larger than the pixel limit is refused before it is decoded; a JPEG is first decoded at
  1/2, 1/4 or 1/8 of its size where that brings it under the limit.
* The size in points follows the file's dpi where it names a credible one (30 to 2400), else 72.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from mmrag.documents.renderer import PageText, fit_scale
from mmrag.errors import DocumentError, PageError
from mmrag.images import FORMATS, to_rgb


class ImageRenderer:
    """One picture file."""

    def __init__(self, name: str, source: str | bytes, max_pixels: int) -> None:
        """Read the header; nothing is decoded yet."""
        Image.MAX_IMAGE_PIXELS = None  # our own limit, checked before decoding, stands in its place
        self.title = ""
        self._max_pixels = max_pixels
        try:
            Image.init()  # loads the plugins; which there are depends on Pillow's version and build
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            self._image = Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
            frames = int(getattr(self._image, "n_frames", 1))
        except Exception as error:
            raise DocumentError(f"{name}: image cannot be opened ({_reason(error)}).") from error
        self._size = self._image.size  # `draft` changes the picture's own
        many_pages = self._image.format == "TIFF"
        self.page_count = max(1, frames) if many_pages else 1
        self._notes: tuple[str, ...] = ()
        if not many_pages and frames > 1:
            self._notes = (f"{frames} frames in this {self._image.format} file; the first is the page",)

    def read(self, number: int) -> PageText:
        """Return the frame's size in points; a picture has no text of its own."""
        image = self._seek(number)
        width, height = image.size if self.page_count > 1 else self._size
        self._check_size(image, number)  # before the EXIF data, which a PNG may keep behind its pixels
        try:
            orientation = image.getexif().get(0x0112)
        except MemoryError:
            raise
        except Exception as error:
            raise PageError(f"image cannot be decoded ({_reason(error)})", number) from error
        across, down = _dpi(image)
        if orientation in (5, 6, 7, 8):  # the sides are swapped
            width, height, across, down = height, width, down, across
        return PageText((width * 72 / across, height * 72 / down), notes=self._notes)

    def render(self, number: int, max_pixels: int, max_side: int | None = None) -> Image.Image:
        """Render the frame as upright RGB, scaled down to the limits and never up."""
        image = self._seek(number)
        self._check_size(image, number)
        try:
            picture = to_rgb(image)
        except MemoryError:
            raise
        except Exception as error:
            raise PageError(f"image cannot be decoded ({_reason(error)})", number) from error
        scale = fit_scale(*picture.size, max_pixels, max_side)
        if scale >= 1:
            return picture
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)

    def _seek(self, number: int) -> Image.Image:
        """Go to a frame."""
        try:
            self._image.seek(number)
        except Exception as error:
            raise PageError(f"frame cannot be read ({_reason(error)})", number) from error
        return self._image

    def _check_size(self, image: Image.Image, number: int) -> None:
        """Refuse a picture over the pixel limit, after asking a JPEG for a smaller one."""
        width, height = image.size
        if width * height > self._max_pixels and image.format in ("JPEG", "MPO"):
            # one call only: Pillow takes a second one relative to the first, but scales by the last
            for factor in (2, 4, 8):
                if (width // factor + 1) * (height // factor + 1) <= self._max_pixels:
                    image.draft("RGB", (width // factor, height // factor))
                    break
        if image.width * image.height > self._max_pixels:
            raise PageError(
                f"image must have at most {self._max_pixels} pixels (max_pixels), got {width} x {height}",
                number,
            )

    def attached_files(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield nothing: a picture carries no files."""
        return iter(())

    def close(self) -> None:
        """Close the file."""
        self._image.close()


def _dpi(image: Image.Image) -> tuple[float, float]:
    """Return horizontal and vertical resolution in dots per inch; 72 if the file gives none or nonsense."""
    value: Any = image.info.get("dpi")
    try:
        across, down = float(value[0]), float(value[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return 72.0, 72.0
    credible = all(30 <= dots <= 2400 for dots in (across, down))
    return (across, down) if credible else (72.0, 72.0)


def _reason(error: BaseException) -> str:
    """Describe an exception in one short line, without the address of an in-memory file."""
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    return "not a picture that Pillow knows" if line.startswith("cannot identify image file") else line[:200]
