"""OCR by RapidOCR 3.x, whose models are in its wheel; used only inside worker processes.

Decisions taken here (figures in docs/lab-log.md):

* The picture's longer side is `ReaderSettings.ocr_max_side` (1600); text is *found* on it at 4/5 of
  that and *recognised* from the full picture. Finding costs with the square of the side, recognising
  by the line. Tall and wide pictures are looked at in tiles (`tiles`).
* Only RapidOCR's finder and recogniser are used: its line classifier turns upright lines upside down
  (`orientation` has what is done instead), and its filter drops lines without a word.
* Short lines are not padded to 320 pixels (RapidOCR's default), which halves recognition on slides.
* One thread a worker: the pool has one worker a core.
* The picture is a contiguous array. A reversed view (RGB to BGR by slicing) makes OpenCV copy the whole
  page for every line that is cut out.
* What has been read is better than nothing: recognition stops before the time of the job is up, and the
  number of lines left unread is told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_rec import TextRecInput

from mmrag.documents.layout import bounds, reading_order
from mmrag.documents.ocr.lines import (
    Line,
    characters_of,
    cut,
    reading_direction,
    skew,
    straight_box,
    words_of_line,
)
from mmrag.documents.ocr.merge import covered_share
from mmrag.documents.ocr.orientation import picture_direction, read_lines, turned_box
from mmrag.documents.ocr.tiles import join_seams, tile_ranges
from mmrag.onnx_sessions import ProviderOrder, Providers, open_session, provider_order
from mmrag.types import Box, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

DETECT_FRACTION = 0.8
LINES_AT_ONCE = 12  # between two looks at the clock
TIME_FRACTION = 0.85  # of a job's seconds, for recognition
FLAT = 8.0  # width over height from which a picture is given room above and below to be found in
LEAST_NOISE = 3  # characters: less is a mark in a picture, and not worth a word
LEAST_FOREIGN = 2
LEAST_SKEW = 0.008  # radians, about half a degree: a line of 80 characters climbs by a third of its height
COVERED_SHARE = 0.5  # of a find that lies under words of the file: it is that text

Blocks: TypeAlias = "tuple[tuple[tuple[Word, ...], ...], ...]"


@dataclass(frozen=True)
class Reading:
    """What OCR read.

    Attributes:
        blocks: blocks of lines of words in reading order, boxes in 0..1 of the picture as it was given.
        noise_lines: lines left out because they are no text.
        unread_lines: lines for which there was no time.
        foreign_lines: lines of which hardly a character was read, where at least half of the long ones
            are so: their script is not the model's.
    """

    blocks: Blocks = ()
    noise_lines: int = 0
    unread_lines: int = 0
    foreign_lines: int = 0


class OcrEngine:
    """RapidOCR with its models loaded."""

    def __init__(
        self, max_side: int, model: str | None = None, *, providers: Providers | ProviderOrder = None
    ) -> None:
        """Load the models.

        Args:
            max_side: longer side in pixels of the pictures that will come.
            model: path of another recogniser than that of the wheel.
            providers: of the sessions, see `mmrag.onnx_sessions`.

        Raises:
            ValueError: onnxruntime does not have a provider, or could not start it.
        """
        order = provider_order(providers)
        cv2.setNumThreads(1)
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        detect_side = max(32, round(max_side * DETECT_FRACTION / 32) * 32)
        params: dict[str, Any] = {
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_type": "max",
            "Det.limit_side_len": detect_side,
            "Rec.rec_img_shape": [3, 48, 64],
        }
        if model is not None:
            params["Rec.model_path"] = model
        engine = RapidOCR(params=params)
        # since 3.9 RapidOCR loads its models when they are first used
        self._finder = engine._load_det_model() if hasattr(engine, "_load_det_model") else engine.text_det
        self._recogniser = engine._load_rec_model() if hasattr(engine, "_load_rec_model") else engine.text_rec
        if len(order) > 1:
            # RapidOCR knows some providers only, and goes on with the CPU where one is missing
            for part in (self._finder, self._recogniser):
                part.session.session = open_session(Path(part.session.session._model_path), order)

    def read(
        self,
        picture: Image,
        *,
        regions: Sequence[Box] | None = None,
        known_boxes: Sequence[Box] = (),
        seconds: float | None = None,
    ) -> Reading:
        """Read an RGB picture.

        Args:
            picture: a page; upright, upside down or sideways.
            regions: parts of it to read, in 0..1; None for all of it.
            known_boxes: boxes of words that are known already, in 0..1; finds under them are not read.
            seconds: processor time for it; None for no limit.
        """
        deadline = None if seconds is None else time.process_time() + TIME_FRACTION * seconds
        array = np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])
        if regions is None:
            return self._read_array(array, known_boxes, deadline)
        readings = [self._read_region(array, region, known_boxes, deadline) for region in regions]
        return Reading(
            tuple(block for reading in readings for block in reading.blocks),
            sum(reading.noise_lines for reading in readings),
            sum(reading.unread_lines for reading in readings),
            sum(reading.foreign_lines for reading in readings),
        )

    def _read_region(
        self, array: NDArray[np.uint8], region: Box, known_boxes: Sequence[Box], deadline: float | None
    ) -> Reading:
        """Read a part of a picture as a picture of its own."""
        height, width = array.shape[:2]
        x0, y0, x1, y1 = (round(edge * side) for edge, side in zip(region, (width, height) * 2, strict=True))
        part = np.ascontiguousarray(array[y0:y1, x0:x1])
        if 0 in part.shape:
            return Reading()
        across, down = (x1 - x0) / width, (y1 - y0) / height
        left, top = x0 / width, y0 / height
        inside = [
            ((box[0] - left) / across, (box[1] - top) / down, (box[2] - left) / across, (box[3] - top) / down)
            for box in known_boxes
        ]
        reading = self._read_array(part, inside, deadline)
        return Reading(
            tuple(
                tuple(tuple(_move_word(word, left, top, across, down) for word in line) for line in block)
                for block in reading.blocks
            ),
            reading.noise_lines,
            reading.unread_lines,
            reading.foreign_lines,
        )

    def _read_array(
        self, array: NDArray[np.uint8], known_boxes: Sequence[Box], deadline: float | None
    ) -> Reading:
        """Read a BGR picture: find lines, find its direction, read them, order them."""
        quads = _without_known(self._find(array), array, known_boxes)
        if not quads:
            return Reading()
        turns, lines = picture_direction(quads, self._recogniser_of(array, deadline))
        if turns:
            array = np.ascontiguousarray(np.rot90(array, turns))
            boxes = [turned_box(box, -turns) for box in known_boxes]
            quads, lines = _without_known(self._find(array), array, boxes), {}
        lines = read_lines(quads, lines, self._recogniser_of(array, deadline))
        text_lines = [line for line in lines.values() if line.text.strip()]
        kept_lines = [line for line in text_lines if not line.is_noise]
        return Reading(
            _order_lines(kept_lines, (array.shape[1], array.shape[0]), turns),
            noise_lines=sum(len(line.text) >= LEAST_NOISE for line in text_lines if line.is_noise),
            unread_lines=len(quads) - len(lines),
            foreign_lines=_foreign_count(list(lines.values())),
        )

    def _find(self, array: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Find text in tiles: quadrilaterals in pixels, corners as they lie."""
        height, width = array.shape[:2]
        axis = int(height > width)
        ranges = tile_ranges(max(height, width), min(height, width))
        quads_by_tile = []
        for start, end in ranges:
            tile = array[start:end] if axis else array[:, start:end]
            offset = np.array([0, start] if axis else [start, 0], dtype=np.float32)
            quads_by_tile.append([quad + offset for quad in self._find_in_tile(np.ascontiguousarray(tile))])
        return join_seams(quads_by_tile, ranges, axis)

    def _find_in_tile(self, tile: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Find text in one tile; a flat one gets room above and below."""
        height, width = tile.shape[:2]
        room = max(0, round((max(width / FLAT, 64) - height) / 2)) if width > FLAT * height else 0
        if min(height, width) < 30:
            room = max(room, 16)
        if room:
            tile = cv2.copyMakeBorder(tile, room, room, room, room, cv2.BORDER_REPLICATE)
        boxes = self._finder(tile).boxes
        if boxes is None:
            return []
        limit = np.array([width, height], dtype=np.float32)
        quads = [np.clip(np.asarray(box, dtype=np.float32) - room, 0, limit) for box in boxes]
        return [quad for quad in quads if np.ptp(quad, axis=0).min() >= 3]

    def _recogniser_of(self, array: NDArray[np.uint8], deadline: float | None) -> _Recogniser:
        """Read lines of a picture, given by their corners."""
        return _Recogniser(self._recogniser, array, deadline)


class _Recogniser:
    """Reads lines of one picture until the time is up."""

    def __init__(self, recogniser: Any, array: NDArray[np.uint8], deadline: float | None) -> None:  # noqa: ANN401
        """Take the picture."""
        self._recogniser = recogniser
        self._array = array
        self._deadline = deadline

    def __call__(self, corner_list: Sequence[NDArray[np.float32]]) -> list[Line | None]:
        """Read lines; None for those for which there was no time."""
        lines: list[Line | None] = [None] * len(corner_list)
        # lines of one length at once: the shorter ones of a batch are padded
        order = sorted(range(len(corner_list)), key=lambda index: _shape(corner_list[index]))
        for start in range(0, len(order), LINES_AT_ONCE):
            if self._deadline is not None and time.process_time() > self._deadline:
                break
            batch = order[start : start + LINES_AT_ONCE]
            pictures = [cut(self._array, corner_list[index]) for index in batch]
            result = self._recogniser(TextRecInput(img=pictures, return_word_box=True))
            for index, text, score, info in zip(
                batch, result.txts, result.scores, result.word_results, strict=True
            ):
                lines[index] = Line(corner_list[index], text, float(score), characters_of(text, info))
        return lines


def _foreign_count(lines: Sequence[Line]) -> int:
    """Count lines in another script; a few beside many that are read are marks in a picture."""
    long_count = sum(line.is_long for line in lines)
    count = sum(line.is_foreign for line in lines)
    return count if count >= LEAST_FOREIGN and 2 * count >= long_count else 0


def _shape(corners: NDArray[np.float32]) -> float:
    """Return length over height of a line."""
    along, across = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    return float(along) / max(float(across), 1.0)


def _without_known(
    quads: Sequence[NDArray[np.float32]], array: NDArray[np.uint8], known_boxes: Sequence[Box]
) -> list[NDArray[np.float32]]:
    """Leave out finds that are words of the file."""
    if not known_boxes:
        return list(quads)
    size = np.array([array.shape[1], array.shape[0]], dtype=float)
    return [quad for quad in quads if covered_share(_bounds(quad, size), known_boxes) < COVERED_SHARE]


def _bounds(quad: NDArray[np.float32], size: NDArray[np.float64]) -> Box:
    """Return the upright box of a quadrilateral, in 0..1."""
    (x0, y0), (x1, y1) = quad.min(axis=0) / size, quad.max(axis=0) / size
    return (float(x0), float(y0), float(x1), float(y1))


def _order_lines(lines: Sequence[Line], size: tuple[int, int], turns: int) -> Blocks:
    """Order lines as the upright picture is read; boxes in 0..1 of the picture as it was given."""
    pairs = [(words, line) for line in lines if (words := words_of_line(line, size))]
    word_lines = [words for words, _ in pairs]
    angle = skew([line for _, line in pairs])
    if abs(angle) < LEAST_SKEW:
        boxes = [bounds(words) for words in word_lines]
    else:
        boxes = [straight_box(line, angle, size) for _, line in pairs]
    order = reading_order(boxes, size[0] / size[1])
    return tuple(
        tuple(
            tuple(
                Word(word.text, turned_box(word.box, turns), None, word.confidence)
                for word in reading_direction(word_lines[index])
            )
            for index in block
        )
        for block in order
    )


def _move_word(word: Word, left: float, top: float, across: float, down: float) -> Word:
    """Map a word of a part of a picture to the picture."""
    x0, y0, x1, y1 = word.box
    box = (left + x0 * across, top + y0 * down, left + x1 * across, top + y1 * down)
    return Word(word.text, box, None, word.confidence)
