"""Any picture as upright RGB on white, as paper is."""

from __future__ import annotations

from PIL import Image, ImageOps


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
