"""Pictures of evidence: the page with the passages of an answer boxed, crisp at reading size."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from mmrag.types import Box

READING_SIDE = 1500
"""Pixels of the long side: body text of an A4 page is then about 15 pixels high."""
OUTLINE = (214, 69, 30)
FILL = (255, 205, 64)
BLUR_REACH = 8
"""Pixels; far more than the blur of an edge spreads."""
COMPRESS_LEVEL = 2
"""Of the PNG: as small as 6 on pages of text, in two thirds of the time."""
SMOOTH = 3  # outlines are drawn this much larger and scaled down, so that their edges are smooth


def draw_evidence(image: Image.Image, boxes: Sequence[Box], *, label: str | None = None) -> Image.Image:
    """Mark the evidence on a page: a light fill, a thin outline and a number.

    Args:
        image: the page; it is not changed. A larger one is scaled to a long side of 1500 pixels.
        boxes: in 0..1 of the page; boxes that touch are drawn as one. Parts outside the page are cut.
        label: a short text for the badge, usually the citation's number; None draws no badge.

    Returns:
        A new RGB image. Without boxes it is the page itself, with the badge in its corner.
    """
    page = _reading_size(image.convert("RGB"))
    areas = _merge([_pixels(box, page.size) for box in boxes], max(4, page.width // 250))
    if areas:
        page = _mark(page, areas)
    if label:
        _badge(page, areas, label)
    return page


def evidence_png(image: Image.Image, boxes: Sequence[Box], *, label: str | None = None) -> bytes:
    """Return the image of `draw_evidence` as PNG bytes."""
    buffer = io.BytesIO()
    picture = draw_evidence(image, boxes, label=label)
    picture.save(buffer, format="PNG", optimize=False, compress_level=COMPRESS_LEVEL)
    return buffer.getvalue()


Area = tuple[int, int, int, int]


def _reading_size(image: Image.Image) -> Image.Image:
    longest = max(image.size)
    if longest <= READING_SIDE:
        return image.copy()
    scale = READING_SIDE / longest
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _pixels(box: Box, size: tuple[int, int]) -> Area:
    """Return the box in pixels with a little room at its sides, inside the page."""
    width, height = size
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    pad = max(3.0, width * 0.0035)
    # A font's box reaches into its neighbours' lines; the outline must not strike through them.
    trim = 0.05 * (y1 - y0) * height
    return (
        max(0, min(width - 2, round(x0 * width - pad))),
        max(0, min(height - 2, round(y0 * height + trim))),
        max(1, min(width - 1, round(x1 * width + pad))),
        max(1, min(height - 1, round(y1 * height - 0.5 * trim))),
    )


def _merge(areas: Sequence[Area], near: int) -> list[Area]:
    """Join areas that overlap, and lines of one paragraph; repeated until nothing joins."""
    merged_areas = list(areas)
    while (pair := _joinable_pair(merged_areas, near)) is not None:
        i, j = pair
        a, b = merged_areas[i], merged_areas.pop(j)
        merged_areas[i] = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    return sorted(merged_areas, key=lambda area: (area[1], area[0]))


def _joinable_pair(areas: Sequence[Area], near: int) -> tuple[int, int] | None:
    """Return the positions of the first two areas that belong together."""
    pairs = itertools.combinations(range(len(areas)), 2)
    return next(((i, j) for i, j in pairs if _belong(areas[i], areas[j], near)), None)


def _belong(a: Area, b: Area, near: int) -> bool:
    """Return whether one rectangle may replace both without covering much that is in neither."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    if across < -near or down < -near:
        return False
    whole = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    parts = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return parts >= 0.62 * whole or (across > 0 and down > 0 and parts >= 0.5 * whole)


def _mark(page: Image.Image, areas: Sequence[Area]) -> Image.Image:
    """Dim the rest a little, tint the areas as a marker pen does, outline them."""
    mask = Image.new("L", page.size, 0)
    pen = ImageDraw.Draw(mask)
    radius = max(3, page.width // 260)
    for area in areas:
        pen.rounded_rectangle(area, radius=radius, fill=255)
    result = Image.blend(page, Image.new("RGB", page.size, (236, 238, 242)), 0.2)
    light = tuple(round(255 - 0.30 * (255 - c)) for c in FILL)
    box = _around(areas, page.size)  # beyond it nothing is tinted, and most of a page is beyond it
    part = page.crop(box)
    # Multiplied as ink is: black text stays black, white paper takes the tint.
    tint = ImageChops.multiply(part, Image.new("RGB", part.size, light))
    soft_mask = mask.crop(box).filter(ImageFilter.GaussianBlur(0.6))
    result.paste(Image.composite(tint, result.crop(box), soft_mask), box[:2])
    for area in areas:
        _outline(result, area, radius)
    return result


def _around(areas: Sequence[Area], size: tuple[int, int]) -> Area:
    """Return the rectangle that holds all areas and what the blur of their edges reaches."""
    return (
        max(0, min(area[0] for area in areas) - BLUR_REACH),
        max(0, min(area[1] for area in areas) - BLUR_REACH),
        min(size[0], max(area[2] for area in areas) + 1 + BLUR_REACH),
        min(size[1], max(area[3] for area in areas) + 1 + BLUR_REACH),
    )


def _outline(page: Image.Image, area: Area, radius: int) -> None:
    width = max(2, round(page.width / 550))
    x0, y0, x1, y1 = area
    size = (x1 - x0 + 1 + 2 * width, y1 - y0 + 1 + 2 * width)
    big = Image.new("L", (size[0] * SMOOTH, size[1] * SMOOTH), 0)
    edge = (0, 0, big.width - 1, big.height - 1)
    ImageDraw.Draw(big).rounded_rectangle(
        edge, radius=(radius + width) * SMOOTH, outline=255, width=width * SMOOTH
    )
    page.paste(OUTLINE, (x0 - width, y0 - width), big.resize(size, Image.Resampling.LANCZOS))


def _badge(page: Image.Image, areas: Sequence[Area], label: str) -> None:
    """Draw a filled disc (or pill) with the number, left of the leftmost area or on its corner."""
    size = max(15, round(max(page.size) / 62))
    font = ImageFont.load_default(size=size)
    left, top, right, bottom = font.getbbox(label)
    tall = round(size * 1.5)
    wide = max(tall, round(right - left + 0.9 * size))
    if areas:
        x0, y0, _, y1 = min(areas)  # the leftmost: the margin is next to it, not other words
        outside = x0 - wide - round(size * 0.45)
        x = outside if outside >= 2 else max(2, x0 - wide // 3)
        y = (y0 + min(y1, y0 + 2 * tall)) // 2 - tall // 2 if outside >= 2 else y0 - round(tall * 0.8)
    else:
        x = y = round(size * 0.8)
    x, y = max(2, min(page.width - wide - 2, x)), max(2, min(page.height - tall - 2, y))
    disc = Image.new("L", (wide * SMOOTH, tall * SMOOTH), 0)
    ImageDraw.Draw(disc).rounded_rectangle(
        (0, 0, disc.width - 1, disc.height - 1), radius=tall * SMOOTH // 2, fill=255
    )
    page.paste(OUTLINE, (x, y), disc.resize((wide, tall), Image.Resampling.LANCZOS))
    pen = ImageDraw.Draw(page)
    centre = (x + (wide - (right - left)) / 2 - left, y + (tall - (bottom - top)) / 2 - top)
    pen.text(centre, label, fill=(255, 255, 255), font=font)
