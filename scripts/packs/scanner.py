"""Turns drawn pages into scans: rasterised, a little askew, uneven and noisy, without a text layer."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from math import cos, radians, sin

import numpy as np
import pymupdf
from PIL import Image, ImageFilter
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from packs.book import Box, Spot
from packs.names import Kit
from packs.truth import Drawing, Query


@dataclass(frozen=True)
class Scanner:
    """A scanner: resolution, largest skew in degrees, noise in grey levels, blur in pixels, JPEG quality."""

    dpi: int = 150
    skew: float = 0.8
    noise: float = 4
    blur: float = 0.5
    quality: int = 60
    ink: str = "grey"  # "colour" or "fax" (black and white)


SCANNERS = {
    "office": Scanner(),
    "fine": Scanner(200, 0.4, 2.5, 0.4, 70),
    "colour": Scanner(150, 0.6, 4, 0.5, 66, "colour"),
    "worn": Scanner(140, 1.3, 8, 0.8, 48),
    "fax": Scanner(200, 0.5, 14, 0.6, 60, "fax"),
    "photo": Scanner(150, 1.8, 6, 0.7, 62, "colour"),
}


def scan(drawing: Drawing, kind: str, kit: Kit) -> Drawing:
    """The document as that scanner gives it; "photo" gives a JPEG file of its only page, boxes in pixels."""
    scanner = SCANNERS[kind]
    angles = [kit.rng.uniform(-scanner.skew, scanner.skew) for _ in drawing.sizes]
    with pymupdf.open(stream=drawing.data, filetype="pdf") as pages:
        pictures = [
            _photograph(page, scanner, angle, kit.rng.randrange(2**32))
            for page, angle in zip(pages, angles, strict=True)
        ]
    if kind == "photo":
        return _as_photo(drawing, pictures, angles, kit)
    data = _bind(pictures, drawing.sizes)
    queries = [_turned(query, drawing.sizes, angles, [1.0] * len(angles)) for query in drawing.queries]
    return replace(drawing, data=data, queries=queries, scanned=kind)


def _as_photo(drawing: Drawing, pictures: list[bytes], angles: list[float], kit: Kit) -> Drawing:
    if len(pictures) != 1:
        raise ValueError(
            f"a photo has one page, got {len(pictures)} pages in {drawing.name}. Take another scanner."
        )
    with Image.open(io.BytesIO(pictures[0])) as picture:
        size = (float(picture.width), float(picture.height))
    scale = size[0] / drawing.sizes[0][0]
    queries = [_turned(query, drawing.sizes, angles, [scale]) for query in drawing.queries]
    name = drawing.name.replace(".pdf", ".jpg")
    return replace(drawing, name=name, data=pictures[0], sizes=[size], queries=queries, scanned="photo")


def _bind(pictures: list[bytes], sizes: list[tuple[float, float]]) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=sizes[0], invariant=1)
    for picture, size in zip(pictures, sizes, strict=True):
        canvas.setPageSize(size)
        canvas.drawImage(ImageReader(io.BytesIO(picture)), 0, 0, *size)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _photograph(page: pymupdf.Page, scanner: Scanner, angle: float, seed: int) -> bytes:
    colour = scanner.ink == "colour"
    drawn = page.get_pixmap(dpi=scanner.dpi, colorspace=pymupdf.csRGB if colour else pymupdf.csGRAY)
    paper = Image.frombytes("RGB" if colour else "L", (drawn.width, drawn.height), drawn.samples)
    white = (255, 255, 255) if colour else 255
    paper = paper.filter(ImageFilter.GaussianBlur(scanner.blur))
    paper = paper.rotate(angle, Image.Resampling.BICUBIC, fillcolor=white)
    out = io.BytesIO()
    Image.fromarray(_worn(np.asarray(paper, np.float32), scanner, seed)).save(
        out, "JPEG", quality=scanner.quality, dpi=(scanner.dpi, scanner.dpi)
    )
    return out.getvalue()


def _worn(shade: np.ndarray, scanner: Scanner, seed: int) -> np.ndarray:
    """Uneven light, noise and dust on a picture (height, width) or (height, width, 3) in 0..255."""
    random = np.random.default_rng(seed)
    height, width = shade.shape[:2]
    noise = random.standard_normal((height, width), np.float32) * np.float32(scanner.noise)
    coarse = Image.fromarray(random.integers(0, 255, (5, 4)).astype(np.uint8))
    cloud = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255 - 0.5
    light = 241 + 7 * cloud if scanner.ink != "fax" else np.full((height, width), 250, np.float32)
    tint = np.array([1, 0.985, 0.95], np.float32)
    grey = (
        30 + (light[..., None] * tint - 30) * shade / 255
        if shade.ndim == 3
        else 30 + (light - 30) * shade / 255
    )
    grey += noise[..., None] if shade.ndim == 3 else noise
    for _ in range(40):
        y, x = int(random.integers(2, height - 4)), int(random.integers(2, width - 4))
        grey[y : y + int(random.integers(1, 3)), x : x + int(random.integers(1, 3))] -= 90
    if scanner.ink == "fax":
        grey = np.where(grey > 165, 255, 0)
    return np.clip(grey, 0, 255).astype(np.uint8)


def _turned(
    query: Query, sizes: list[tuple[float, float]], angles: list[float], scales: list[float]
) -> Query:
    def move(spot: Spot) -> Spot:
        box = _turn(spot.box, sizes[spot.page], angles[spot.page])
        return Spot(spot.page, tuple(edge * scales[spot.page] for edge in box))

    return replace(query, values=tuple(map(move, query.values)), blocks=tuple(map(move, query.blocks)))


def _turn(box: Box, size: tuple[float, float], angle: float) -> Box:
    """The upright box around a box that was turned with its page, anticlockwise by `angle` degrees."""
    turn = radians(-angle)
    middle = size[0] / 2, size[1] / 2
    corners = [(x - middle[0], y - middle[1]) for x in (box[0], box[2]) for y in (box[1], box[3])]
    across = [middle[0] + x * cos(turn) - y * sin(turn) for x, y in corners]
    down = [middle[1] + x * sin(turn) + y * cos(turn) for x, y in corners]
    return (max(min(across), 0), max(min(down), 0), min(max(across), size[0]), min(max(down), size[1]))
