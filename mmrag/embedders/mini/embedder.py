"""`MiniEmbedder`: mmrag-mini, our own model, which ships in the package and is its default.

Text and page pictures in, up to 64 nested rows of 128 numbers a page out, on one CPU core, with no network,
no GPU and no torch. What a picture goes through::

    pixels -> reader (convolutions that say which letter stands where) -> visual tokens
           -> bilinear compression s = 2 -> connector -> encoder -> located meta tokens -> projection

Text goes into the same encoder as word pieces. Decisions taken here:

* *Text first, pixels where it has nothing.* With ``inputs="both"`` a page's content is its text (the file's
  own, or OCR's) and then what the reader finds in the picture where no word of that text stands: labels of a
  chart that is a picture, a scan without OCR. The reader makes mistakes, a text layer rarely does.
* *No string leaves the image path.* What the reader reads becomes vectors inside and is shown to nobody; rows
  are compared with rows.
* *A question's parts weigh a quarter.* Row 0 of a query is the whole question, at length 1; the rows of its
  thirds, quarters and eighths weigh a quarter each level, so that they refine and do not outvote.
* *All rows are made and the budget's are kept.* Activations are quantised by the whole of a window, so fewer
  rows in it would round the others differently (by .02 in a number); so a prefix is exact, and costs no more
  than a full page.
* *Nothing is cut off.* Long text is read in windows, long pictures in tiles; a level has more tokens a part
  then.
* *A page with nothing on it* has the row of the empty text, which scores like an average unrelated page.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import string
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mmrag.embedders.base import (
    Content,
    DocumentInput,
    EmbedderBase,
    QueryInput,
    as_document,
    as_query,
    check_batch,
    searchable_text,
)
from mmrag.embedders.mini.encoder import WEIGHTS, MiniEncoder
from mmrag.embedders.mini.located import LEVELS, WINDOW, parts_of
from mmrag.embedders.mini.reader import LetterReader, ReadWord, enlargement
from mmrag.embedders.mini.visual import visual_tokens
from mmrag.embedders.onnx import POSITIONS, file_digest, side_by_side
from mmrag.embedders.text import QUERY_INSTRUCTION
from mmrag.errors import check_whole
from mmrag.files import weights_folder
from mmrag.machine import default_threads
from mmrag.types import Budget, Matrix, Page, Query

if TYPE_CHECKING:
    from PIL.Image import Image

MODEL_DIR = weights_folder("mmrag-mini")
NAME = "mmrag-mini"
INPUTS = ("both", "text", "pixels")
COMPRESSION, COMPRESSIONS = 2, (1, 2)
FULL = Budget(query=16, document=64)
NEAR = 0.7
"""Likeness (difflib's ratio) from which a word that is read is taken for a known one misread."""
PART_WEIGHT = 0.25
"""Length that the rows of one level of a query share."""
INSTRUCTION_ROOM = POSITIONS - WINDOW - 2
"""Tokens of an instruction; it stands before every window."""

_FILES = (WEIGHTS, "encoder.onnx", "reader.onnx", "tokenizer.json")
_ALGORITHM = "mini-1"  # part of the fingerprint: raise it when the same settings give other rows

Floats = NDArray[np.float32]


class MiniEmbedder(EmbedderBase):
    """Text and pictures in, nested rows out.

    Loads lazily on first use; safe to share between threads.

    Args:
        model_dir: folder with the model's files. None: the shipped one.
        inputs: what is looked at: ``"both"``, ``"text"``, or ``"pixels"`` (a page that was not rendered has
            none). Queries are read whole in any case.
        budget: most rows of a query, 1 to 16, and of a document, 1 to 64.
        compression: s of the visual tokens, 1 or 2; 2 is what the model is measured with.
        threads: inputs encoded at the same time. None: ``OMP_NUM_THREADS`` where set, else as many as the
            process may use cores.

    Raises:
        ValueError: a setting is out of its range.
        FileNotFoundError: a file of the model is missing.
    """

    def __init__(
        self,
        model_dir: str | Path | None = None,
        *,
        inputs: str = "both",
        budget: Budget = FULL,
        compression: int = COMPRESSION,
        threads: int | None = None,
    ) -> None:
        if inputs not in INPUTS:
            raise ValueError(f"inputs must be one of {', '.join(INPUTS)}, got {inputs!r}.")
        if compression not in COMPRESSIONS or isinstance(compression, bool):
            raise ValueError(f"compression of {NAME} must be 1 or 2 (per axis), got {compression!r}.")
        check_whole("budget.query", budget.query, 1, FULL.query)
        check_whole("budget.document", budget.document, 1, FULL.document)
        if threads is not None:
            check_whole("threads", threads, 1, 1024)
        self.model_dir = _checked(Path(model_dir) if model_dir is not None else MODEL_DIR)
        self.inputs = inputs
        self.budget = budget
        self.compression = compression
        self.threads = threads if threads is not None else default_threads()
        self._lock = threading.Lock()
        self._parts: tuple[MiniEncoder, LetterReader] | None = None

    def with_inputs(self, inputs: str) -> MiniEmbedder:
        """The same model looking at something else of a page; weights are shared."""
        other = MiniEmbedder(
            self.model_dir,
            inputs=inputs,
            budget=self.budget,
            compression=self.compression,
            threads=self.threads,
        )
        other._parts = self._loaded()
        return other

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the settings; weights are loaded again on first use."""
        options: dict[str, Any] = {
            "inputs": self.inputs,
            "budget": self.budget,
            "compression": self.compression,
        }
        model_dir = None if self.model_dir == MODEL_DIR else self.model_dir
        return functools.partial(MiniEmbedder, model_dir, **options), ()

    def __repr__(self) -> str:
        rows = f"({self.budget.query}, {self.budget.document})"
        return f"MiniEmbedder({self.name!r}, inputs={self.inputs!r}, budget={rows}, dim={self.dim})"

    @property
    def name(self) -> str:
        """What it is, for people."""
        shown = NAME if self.model_dir == MODEL_DIR else self.model_dir.name
        return shown if self.inputs == "both" else f"{shown} ({self.inputs})"

    @property
    def fingerprint(self) -> str:
        """Digest of weights, graphs, tokenizer and settings; 32 hexadecimal digits.

        The query's rows are not in it: an index is searched with any.
        """
        settings = {
            "algorithm": _ALGORITHM,
            "files": [file_digest(self.model_dir / name) for name in _FILES],
            "inputs": self.inputs,
            "rows": self.budget.document,
            "compression": self.compression,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def dim(self) -> int:
        """Width of a row; read from the file, which loads it."""
        return self._loaded()[0].dim

    @property
    def modalities(self) -> frozenset[str]:
        """What it looks at."""
        return frozenset({"both": ("text", "image"), "text": ("text",), "pixels": ("image",)}[self.inputs])

    @property
    def image_pixels(self) -> int:
        """Largest picture area that it makes use of: what pages are rendered at."""
        side = self._loaded()[1].long_side
        return side * side

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """One ``(rows, dim)`` float32 matrix a query, at most ``budget.query`` rows, in input order.

        Row 0 is the whole question at length 1; the rows of its parts are shorter (see the module). A picture
        in a query is read, and stands before the text. `batch_size` changes nothing.

        Raises:
            TypeError: an input is neither `str` nor `Query`.
            BadInputError: a query's text is blank.
            ValueError: an instruction has more than `INSTRUCTION_ROOM` tokens.
        """
        check_batch(queries, batch_size, "queries")
        given = [as_query(query, position) for position, query in enumerate(queries)]
        for place, query in enumerate(given):
            self._check_instruction(query, place)
        made = side_by_side(self._query_rows, given, self.threads)
        bar = tqdm(made, total=len(given), desc="encoding queries", unit="query", disable=not show_progress)
        return list(bar)

    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """One ``(rows, dim)`` float32 matrix a document, at most ``budget.document`` rows, in input order.

        Rows of parts are unit vectors, or means of such at their own length (`MiniEncoder.rows`).
        `batch_size` changes nothing.

        Raises:
            UnsupportedInputError: ``inputs="text"`` and an image without text, or ``"pixels"`` and text
                alone.
            TypeError: an input is neither `str`, `Page` nor `Content`.
        """
        check_batch(documents, batch_size, "documents")
        given = [
            _looked_at(as_document(document, position, self.modalities), self.inputs)
            for position, document in enumerate(documents)
        ]
        made = side_by_side(self._document_rows, given, self.threads)
        bar = tqdm(made, total=len(given), desc="encoding documents", unit="page", disable=not show_progress)
        return list(bar)

    def _check_instruction(self, query: Query, position: int) -> None:
        length = len(self._loaded()[0].tokenizer.tokenize(query.instruction)) if query.instruction else 0
        if length > INSTRUCTION_ROOM:
            raise ValueError(
                f"a query's instruction must have at most {INSTRUCTION_ROOM} tokens, got {length} in query "
                f"{position}. Shorten the instruction."
            )

    def _query_rows(self, query: Query) -> Matrix:
        encoder, _ = self._loaded()
        instruction = QUERY_INSTRUCTION if query.instruction is None else query.instruction
        content = encoder.embed(encoder.tokenizer.tokenize(query.text or ""))
        if query.image is not None:
            content = np.concatenate([self._seen(query.image, NOTHING), content])
        parts = parts_of(max(len(content), 1), most=FULL.query, smallest=1)
        rows = encoder.rows(content, parts, "query", encoder.tokenizer.tokenize(instruction))
        rows[0] /= np.linalg.norm(rows[0])
        levels = [part.level for part in parts[: len(rows)]]
        for row, level in enumerate(levels):
            if level:
                rows[row] *= PART_WEIGHT / LEVELS[level]
        return rows[: self.budget.query]

    def _document_rows(self, document: _Input) -> Matrix:
        encoder, _ = self._loaded()
        content = encoder.embed(encoder.tokenizer.tokenize(document.text))
        for image in document.images:
            content = np.concatenate([content, self._seen(image, document.known)])
        parts = parts_of(max(len(content), 1), most=FULL.document)
        return encoder.rows(content, parts, "document")[: self.budget.document]

    def _seen(self, image: Image, known: Known) -> Floats:
        """Content vectors of what is read in a picture and not known from text."""
        encoder, reader = self._loaded()
        words = known.without(reader.read(image), image.size)
        pieces = encoder.tokenizer.tokenize_words([word.text for word in words])
        scale = enlargement(image.size, reader.long_side)
        return visual_tokens(words, pieces, encoder.embed, scale=scale, compression=self.compression)

    def _loaded(self) -> tuple[MiniEncoder, LetterReader]:
        with self._lock:
            if self._parts is None:
                self._parts = MiniEncoder(self.model_dir), LetterReader(self.model_dir)
            return self._parts


@dataclass(frozen=True, slots=True)
class Known:
    """What a picture's words are known to be from text beside it.

    Attributes:
        boxes: ``(n, 4)`` of the text's words as shares of the picture, where they are known.
        words: the text's words, where their places are not known.
    """

    boxes: Floats
    words: frozenset[str] = frozenset()

    def without(self, words: Sequence[ReadWord], size: tuple[int, int]) -> list[ReadWord]:
        """The words whose middle stands in none of the text's, and that are none of it, in order.

        Args:
            words: boxes in pixels.
            size: of the picture, width and height.
        """
        if self.words:
            words = self._unlike(words)
        if not words or not len(self.boxes):
            return list(words)
        read = np.array([word.box for word in words], np.float64)
        middles = ((read[:, :2] + read[:, 2:]) / 2 / size).astype(np.float32)
        x, y = middles[:, 0, None], middles[:, 1, None]
        left, top, right, bottom = self.boxes.T
        held = ((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).any(1)
        return [word for word, known in zip(words, held.tolist(), strict=True) if not known]

    def _unlike(self, words: Sequence[ReadWord]) -> list[ReadWord]:
        """The words that are neither known nor like a known one.

        The reader splits words and takes letters for others. Without places a misread word would stand beside
        the word itself: of 372 words read on a page of the samples 158 would. Single letters and pairs are
        mostly such splinters; numbers of any length are looked up as they are.
        """
        known, left = sorted(self.words), []
        for word in words:
            text = _plain(word.text)
            if text in self.words or (len(text) < 3 and not any(char.isdigit() for char in text)):
                continue
            if text.isdigit() or not difflib.get_close_matches(text, known, n=1, cutoff=NEAR):
                left.append(word)
        return left


NOTHING = Known(np.zeros((0, 4), np.float32))


@dataclass(frozen=True, slots=True)
class _Input:
    """A document as it is looked at: its text, its pictures, and what of them the text knows already."""

    text: str
    images: tuple[Image, ...]
    known: Known = NOTHING


def _looked_at(document: Page | Content, inputs: str) -> _Input:
    """Return the parts of a document that a setting of `inputs` looks at."""
    if isinstance(document, Page):
        parts: Sequence[Any] = (document.image,)
        boxes = np.array([word.box for word in document.words], np.float32).reshape(-1, 4)
        known = Known(boxes)
    else:
        parts = document.parts or (document.image,)
        known = Known(NOTHING.boxes, frozenset(_plain(word) for word in document.text.split()))
    text = searchable_text(document)
    images = tuple(part for part in parts if part is not None and not isinstance(part, str))
    if inputs == "text":
        return _Input(text, ())
    return _Input("", images) if inputs == "pixels" else _Input(text, images, known)


def _plain(word: str) -> str:
    """A word as the reader writes it: small letters without accents."""
    folded = unicodedata.normalize("NFKD", word.lower())
    return "".join(char for char in folded if not unicodedata.combining(char)).strip(string.punctuation)


def _checked(model_dir: Path) -> Path:
    for name in _FILES:
        if not (model_dir / name).is_file():
            raise FileNotFoundError(
                f"{NAME} needs {name} in its folder, got {model_dir} without it. Reinstall mmrag, or pass a "
                "folder that scripts/mini/export.py wrote."
            )
    return model_dir
