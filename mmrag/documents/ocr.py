"""OCR by RapidOCR 3.x, whose models are in its wheel; used only inside worker processes.

Decisions taken here (figures in docs/lab-log.md):

* The picture's longer side is `ReaderSettings.ocr_max_side` (1600); text is *found* on it at 4/5 of
  that and *recognised* from the full picture. Finding costs with the square of the side, recognising
  by the line.
* Short lines are not padded to 320 pixels (RapidOCR's default), which halves recognition on slides.
* One thread a worker: the pool has one worker a core.
* The picture is a contiguous array. A reversed view (RGB to BGR by slicing) makes OpenCV copy the whole
  page for every line that is cut out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rapidocr import RapidOCR

from mmrag.documents.layout import bounds, clip_box, reading_order, words_of_run
from mmrag.types import Box, Word

if TYPE_CHECKING:
    from PIL.Image import Image

DETECT_FRACTION = 0.8


class OcrEngine:
    """RapidOCR with its models loaded."""

    def __init__(self, max_side: int) -> None:
        """Load the models from the wheel."""
        cv2.setNumThreads(1)
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        detect_side = max(32, round(max_side * DETECT_FRACTION / 32) * 32)
        self._engine = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.max_side_len": max(2000, max_side),
                "Global.return_word_box": True,
                "Global.return_single_char_box": True,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Det.limit_type": "max",
                "Det.limit_side_len": detect_side,
                "Rec.rec_img_shape": [3, 48, 64],
            }
        )

    def read(self, picture: Image) -> tuple[tuple[tuple[Word, ...], ...], ...]:
        """Read an RGB picture: blocks of lines of words in reading order, boxes in 0..1."""
        array = np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])
        result = self._engine(array)
        if getattr(result, "txts", None) is None or result.boxes is None:
            return ()
        details: Sequence[Any] = result.word_results or ()
        if len(details) != len(result.txts):
            details = [()] * len(result.txts)
        lines = [
            words
            for text, quad, detail in zip(result.txts, result.boxes, details, strict=True)
            if (words := line_words(text, _unit(quad, picture.size), _characters(detail, picture.size)))
        ]
        order = reading_order([bounds(line) for line in lines], picture.width / picture.height)
        return tuple(tuple(tuple(lines[index]) for index in block) for block in order)


def line_words(text: str, box: Box, characters: Sequence[tuple[str, Box]]) -> list[Word]:
    """Split one recognised line into words with boxes.

    Where the recogniser gave one box for each visible character, a word's box is the union of its
    characters'; otherwise the line's width is divided by the number of characters.
    """
    visible = "".join(text.split())
    if visible != "".join(character for character, _ in characters):
        return words_of_run(text, box)
    words: list[Word] = []
    start = 0
    for piece in text.split():
        parts = [Word(character, part) for character, part in characters[start : start + len(piece)]]
        start += len(piece)
        clipped_box = clip_box(bounds(parts))
        if clipped_box is not None:
            words.append(Word(piece, clipped_box))
    return words


def _characters(detail: Any, size: tuple[int, int]) -> list[tuple[str, Box]]:  # noqa: ANN401
    """Read RapidOCR's (character, score, quadrilateral) tuples of one line; boxes in 0..1."""
    try:
        return [(str(character), _unit(quad, size)) for character, _, quad in detail]
    except (TypeError, ValueError):
        return []


def _unit(quad: Any, size: tuple[int, int]) -> Box:  # noqa: ANN401
    """Return the upright box, in 0..1, of a quadrilateral in pixels."""
    points = np.asarray(quad, dtype=float)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return (float(x0 / size[0]), float(y0 / size[1]), float(x1 / size[0]), float(y1 / size[1]))
