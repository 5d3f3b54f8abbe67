"""Pixels to words with boxes: the reader of mmrag-mini.

A picture is scaled to the size of letters in training, cut into tiles if it is much longer than wide, and
every tile is read by convolutions (ONNX, one core). `mmrag.embedders.mini.letters` joins their cells to
words, `mmrag.embedders.mini.order` puts the words in reading order. Callers that need more than words call
the steps: `LetterReader.prepare`, `LetterReader.look` (cells and features of a tile), `LetterReader.words`.

It reads level Latin print (a skew of one or two in a hundred is fine); upright and rotated text is not read,
and handwriting is read poorly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmrag.embedders.mini.letters import CELL, CLASSES, ReadWord, decode
from mmrag.embedders.mini.order import reading_order
from mmrag.files import weights_folder
from mmrag.onnx_sessions import ProviderOrder, Providers, open_session
from mmrag.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CELL", "CLASSES", "Grid", "LetterReader", "ReadWord", "Tile", "decode", "reading_order"]

LONG_SIDE = 1024
"""Pixels to which the long side of a whole page is scaled: a page of A4 then has letters of the size that the
network was trained on."""

LONGEST_WHOLE = 2.0
"""Long side to short side: a picture longer than this is cut into tiles."""

MOST_ENLARGED = 2.0
"""Largest enlargement of a small picture: details that it lacks cannot be read, letters so blurred were not
in training, and time grows with the square."""

_STEP = 16  # pixels: sides of a tile are multiples of it
_OVERLAP = 256  # pixels shared by neighbouring tiles: as wide as the longest words


@dataclass(frozen=True, slots=True)
class Tile:
    """One input of the network: a part of a picture.

    Attributes:
        pixels: ``(H, W)`` float32, grey 0 (black) to 1 (white); both multiples of 16.
        box: the part of the picture that it shows, in the picture's pixels, without the padding at the right
            and at the bottom.
        core: the part of `box` whose words are this tile's; the cores of all tiles make up the picture.
        scale: pixels of the picture per pixel of the tile, across and down.
    """

    pixels: NDArray[np.float32]
    box: Box
    core: Box
    scale: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Grid:
    """The network's output for a tile.

    Attributes:
        letters: ``(H, W)`` uint8, class of every cell of 8 x 2 pixels, see `CLASSES`.
        bits: ``(3, H, W)`` bool: a letter starts here, a word does, a line's middle runs here.
        confidence: ``(H, W)`` float32, probability of the class.
        features: ``(D, H, W / 2)`` float32, the network's last map.
    """

    letters: NDArray[np.uint8]
    bits: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    features: NDArray[np.float32]


class LetterReader:
    """The reader of words in pictures; may be called from several threads, each call uses one core.

    Args:
        model_dir: folder with ``reader.onnx`` and its weights; None: those of the package.
        long_side: as `LONG_SIDE`, a multiple of 16 from 512 to 4096.
        providers: of the session, see `mmrag.onnx_sessions`.

    Raises:
        FileNotFoundError: ``reader.onnx`` is missing.
        ValueError: `long_side` is out of range, the network was made for another alphabet, or a provider is
            not there.
    """

    def __init__(
        self,
        model_dir: str | Path | None = None,
        *,
        long_side: int = LONG_SIDE,
        providers: Providers | ProviderOrder = None,
    ) -> None:
        if not isinstance(long_side, int) or not 512 <= long_side <= 4096 or long_side % _STEP:
            raise ValueError(f"long_side must be a multiple of {_STEP} from 512 to 4096, got {long_side!r}.")
        self.long_side = long_side
        path = Path(model_dir or weights_folder("mmrag-mini")) / "reader.onnx"
        if not path.is_file():
            raise FileNotFoundError(
                f"the reader needs reader.onnx in its folder, got {path.parent} without it. "
                "Reinstall mmrag, or pass the folder of an exported reader."
            )
        self._session = _session(path, providers)

    def read(self, image: Image) -> list[ReadWord]:
        """Read the words of a picture, in reading order.

        Args:
            image: any mode. Boxes are in its pixels as it is shown, after its EXIF orientation.
        """
        tiles = self.prepare(image)
        words = self.words(tiles, [self.look(tile) for tile in tiles])
        return [words[number] for line in reading_order(words) for number in line]

    def prepare(self, image: Image) -> list[Tile]:
        """Scale a picture and cut it into tiles, from top to bottom or from left to right.

        A picture up to twice as long as wide is one tile; a longer one is scaled by its short side and cut.
        """
        return tiles_of(image, self.long_side)

    def look(self, tile: Tile) -> Grid:
        """Run the network on a tile."""
        letters, bits, confidence, features = self._session.run(
            ["letters", "bits", "confidence", "features"], {"pixels": tile.pixels[None, None]}
        )
        return Grid(letters, bits, confidence, features)

    def words(self, tiles: Sequence[Tile], grids: Sequence[Grid]) -> list[ReadWord]:
        """Join the words of all tiles of one picture, in its pixels; those in overlaps once; unordered."""
        return words_of(tiles, [(grid.letters, grid.bits, grid.confidence) for grid in grids])


def _session(path: Path, providers: Providers | ProviderOrder) -> Any:  # noqa: ANN401 (it has no types)
    session = open_session(path, providers)
    classes = session.get_modelmeta().custom_metadata_map.get("classes", "")
    if classes != CLASSES:
        raise ValueError(
            f"a reader must be made for the classes {CLASSES!r}, got {classes!r} in {path}. "
            "Export it again with this version of mmrag, or use the version that it was made with."
        )
    return session


def tiles_of(image: Image, long_side: int = LONG_SIDE) -> list[Tile]:
    """Cut a picture into tiles; see `LetterReader.prepare`."""
    from PIL import Image as Pillow

    from mmrag.images import to_rgb

    grey = to_rgb(image).convert("L")
    width, height = grey.size
    by = enlargement(grey.size, long_side)
    size = (max(1, round(width * by)), max(1, round(height * by)))
    if size != grey.size:
        grey = grey.resize(size, Pillow.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = np.asarray(grey, np.float32) / 255
    scale = (width / size[0], height / size[1])
    across, down = _spans(size[0], long_side), _spans(size[1], long_side)
    tiles = []
    for (y, y_end), (y_core, y_core_end) in down:
        for (x, x_end), (x_core, x_core_end) in across:
            box, core = (x, y, x_end, y_end), (x_core, y_core, x_core_end, y_core_end)
            part = _pad(pixels[y:y_end, x:x_end])
            tiles.append(Tile(part, _scale_box(box, scale), _scale_box(core, scale), scale))
    return tiles


def _pad(pixels: NDArray[np.floating]) -> NDArray[np.floating]:
    """Repeat the last row and column until the network's strides divide both sides."""
    return np.pad(pixels, [(0, -side % _STEP) for side in pixels.shape], mode="edge")


def enlargement(size: tuple[int, int], long_side: int = LONG_SIDE) -> float:
    """Return the pixels of a tile per pixel of a picture of this size, along a side."""
    long, short = max(size), min(size)
    scale = long_side / long if long <= LONGEST_WHOLE * short else long_side / LONGEST_WHOLE / short
    return min(scale, MOST_ENLARGED)


def _spans(length: int, longest: int) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    """Return first and last + 1 pixel of every tile along one side, and the same of its core."""
    count = 1 if length <= longest else -(-(length - _OVERLAP) // (longest - _OVERLAP))
    starts = [round(number * max(0, length - longest) / max(1, count - 1)) for number in range(count)]
    ends = [min(start + longest, length) for start in starts]
    seams = [(end + start) / 2 for end, start in zip(ends[:-1], starts[1:], strict=True)]
    cores = zip([0.0, *seams], [*seams, float(length)], strict=True)
    return list(zip(zip(starts, ends, strict=True), cores, strict=True))


def _scale_box(box: tuple[float, float, float, float], scale: tuple[float, float]) -> Box:
    return box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1]


def words_of(
    tiles: Sequence[Tile],
    cells: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.floating]]],
) -> list[ReadWord]:
    """Decode the words of all tiles of one picture, in its pixels; a word in an overlap once.

    A word belongs to the tile whose core has the word's middle. Two tiles may see the middle on either side
    of their seam: of two words near it with the same position the one of higher confidence is kept.
    """
    words: list[ReadWord] = []
    near_seam: list[ReadWord] = []
    for tile, (letters, bits, confidence) in zip(tiles, cells, strict=True):
        for word in decode(letters, bits, confidence):
            word = _in_picture(word, tile)
            depth = _depth(word.box, tile)
            margin = (word.box[3] - word.box[1]) / 2
            if depth < -margin:
                continue
            if depth <= 2 * margin:  # the other tile may see it nearer to the seam
                twin = next((near for near in near_seam if _coincide(word.box, near.box)), None)
                if twin is not None:
                    if twin.confidence >= word.confidence:
                        continue
                    near_seam.remove(twin)
                    words.remove(twin)
                near_seam.append(word)
            words.append(word)
    return words


def _in_picture(word: ReadWord, tile: Tile) -> ReadWord:
    """Convert a word's box to the picture's pixels; the padding is no part of the picture."""
    left, top, right, bottom = word.box
    across, down = CELL[1] * tile.scale[0], CELL[0] * tile.scale[1]
    x, y = tile.box[:2]
    box = (
        min(x + left * across, tile.box[2]),
        min(y + top * down, tile.box[3]),
        min(x + right * across, tile.box[2]),
        min(y + bottom * down, tile.box[3]),
    )
    return ReadWord(word.text, box, word.confidence)


def _depth(box: Box, tile: Tile) -> float:
    """Return how far inside its tile's core a word's middle lies; only seams between tiles are borders."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    sides = (
        (x - tile.core[0], tile.core[0] > tile.box[0]),
        (y - tile.core[1], tile.core[1] > tile.box[1]),
        (tile.core[2] - x, tile.core[2] < tile.box[2]),
        (tile.core[3] - y, tile.core[3] < tile.box[3]),
    )
    return min((depth for depth, is_seam in sides if is_seam), default=float("inf"))


def _coincide(first: Box, second: Box) -> bool:
    """Return whether the middle of each box lies in the other."""

    def inside(a: Box, b: Box) -> bool:
        x, y = (a[0] + a[2]) / 2, (a[1] + a[3]) / 2
        return b[0] <= x <= b[2] and b[1] <= y <= b[3]

    return inside(first, second) and inside(second, first)
