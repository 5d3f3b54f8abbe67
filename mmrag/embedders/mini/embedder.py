"""`MiniEmbedder`: mmrag-mini, our own model, which ships in the package and is its default.

Text and page pictures in, up to 64 nested rows of 128 numbers per page out, on one CPU core, with no network,
no GPU and no torch. The path of a picture::

    pixels -> reader (convolutions that find letters) -> visual tokens
           -> bilinear compression s = 2 -> connector -> encoder -> located meta tokens -> projection

Text goes into the same encoder as word pieces. Decisions taken here:

* *Text first, pixels where it has nothing.* With ``inputs="both"`` a page's content is its text (the file's
  own, or OCR's) and then the words that the reader finds in the picture outside of that text: labels of a
  chart that is a picture, a scan without OCR. The reader makes mistakes, a text layer rarely does. An index
  draws only pages of which something is unread (`every_image`): beside a text that is whole the picture
  costs twice the text's time, and nothing is found better for it (``docs/lab-log.md``).
* *No string leaves the image path.* The reader's words become vectors inside and are never shown; rows are
  compared with rows.
* *A question's parts weigh a quarter.* Row 0 of a query is the whole question, at length 1; the rows of its
  thirds, quarters and eighths weigh a quarter per level, so that they refine and do not outvote.
* *All rows are computed, then cut to the budget.* Activations are quantised by window, so fewer rows in it
  would round the others differently (by .02 in a number). So a prefix is exact, and costs as much as a full
  page.
* *Nothing is cut off.* Long text is read in windows, long pictures in tiles; the parts of a level are longer
  then.
* *An empty page* has the row of the empty text, which scores like an average unrelated page.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import string
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
from mmrag.embedders.mini.reader import LONG_SIDE, LetterReader, ReadWord, enlargement
from mmrag.embedders.mini.row_boxes import row_boxes
from mmrag.embedders.mini.visual import visual_tokens
from mmrag.embedders.onnx import POSITIONS, check_sums, file_digest, side_by_side
from mmrag.embedders.text import QUERY_INSTRUCTION
from mmrag.errors import check_whole
from mmrag.files import weights_folder
from mmrag.forks import new_lock
from mmrag.machine import default_threads
from mmrag.onnx_sessions import ProviderOrder, Providers, provider_order
from mmrag.types import Box, Budget, Matrix, Page, Query

if TYPE_CHECKING:
    from PIL.Image import Image

MODEL_DIR = weights_folder("mmrag-mini")
NAME = "mmrag-mini"
INPUTS = ("both", "text", "pixels")
COMPRESSION, COMPRESSIONS = 2, (1, 2)
FULL = Budget(query=16, document=64)
NEAR = 0.7
"""Likeness (difflib's ratio) from which a word of the reader counts as a misread word of the text."""
PART_WEIGHT = 0.25
"""Length that the rows of one level of a query share."""
INSTRUCTION_ROOM = POSITIONS - WINDOW - 2
"""Most tokens of an instruction, which precedes every window."""

_FILES = (WEIGHTS, "encoder.onnx", "reader.onnx", "tokenizer.json")
_ALGORITHM = "mini-1"  # part of the fingerprint: raise it when the same settings give other rows

Floats = NDArray[np.float32]


class MiniEmbedder(EmbedderBase):
    """Text and pictures in, nested rows out.

    Loads lazily on first use; safe to share between threads.

    Args:
        model_dir: folder with the model's files. None: the shipped one.
        inputs: the part of a page that is read: ``"both"``, ``"text"``, or ``"pixels"`` (a page that was not
            rendered has none). Of queries everything is read.
        budget: most rows of a query, 1 to 16, and of a document, 1 to 64.
        compression: s of the visual tokens, 1 or 2; the model card's figures are for 2.
        threads: inputs encoded at the same time. None: ``OMP_NUM_THREADS`` if set, else the number of cores
            that the process may use.
        providers: what computes the graphs, as ``["CUDAExecutionProvider"]`` or ``"auto"``. None:
            ``MMRAG_ONNX_PROVIDERS`` where set, else the CPU; see `mmrag.onnx_sessions`.

    Raises:
        ValueError: a setting is out of its range, or onnxruntime does not have a provider.
        FileNotFoundError: a file of the model is missing.

    Example:
        >>> embedder = MiniEmbedder(budget=Budget(1, 8))
        >>> embedder.encode_query(["Who chairs the board?"])[0].shape
        (1, 128)
    """

    def __init__(
        self,
        model_dir: str | Path | None = None,
        *,
        inputs: str = "both",
        budget: Budget = FULL,
        compression: int = COMPRESSION,
        threads: int | None = None,
        providers: Providers = None,
    ) -> None:
        if inputs not in INPUTS:
            raise ValueError(f"inputs must be one of {', '.join(INPUTS)}, got {inputs!r}.")
        if compression not in COMPRESSIONS or isinstance(compression, bool):
            raise ValueError(f"compression of {NAME} must be 1 or 2 (per axis), got {compression!r}.")
        check_whole("budget.query", budget.query, 1, FULL.query)
        check_whole("budget.document", budget.document, 1, FULL.document)
        self.model_dir = _check_files(Path(model_dir) if model_dir is not None else MODEL_DIR)
        self.inputs = inputs
        self.budget = budget
        self.compression = compression
        self.threads = default_threads() if threads is None else check_whole("threads", threads, 1, 1024)
        self.providers = provider_order(providers)
        self._named_providers = providers
        self._lock = new_lock()
        self._encoder: MiniEncoder | None = None
        self._reader: LetterReader | None = None

    def with_inputs(self, inputs: str) -> MiniEmbedder:
        """Return the same model reading another part of pages; weights are shared."""
        embedder = MiniEmbedder(
            self.model_dir,
            inputs=inputs,
            budget=self.budget,
            compression=self.compression,
            threads=self.threads,
            providers=self._named_providers,
        )
        embedder._encoder, embedder._reader = self._load()
        return embedder

    def __reduce__(self) -> tuple[object, ...]:
        """Reduce to the settings; weights are loaded again on first use."""
        options: dict[str, Any] = {
            "inputs": self.inputs,
            "budget": self.budget,
            "compression": self.compression,
        }
        if self._named_providers is not None:
            options["providers"] = self._named_providers
        model_dir = None if self.model_dir == MODEL_DIR else self.model_dir
        return functools.partial(MiniEmbedder, model_dir, **options), ()

    def __repr__(self) -> str:
        rows = f"({self.budget.query}, {self.budget.document})"
        return f"MiniEmbedder({self.name!r}, inputs={self.inputs!r}, budget={rows}, dim={self.dim})"

    @property
    def name(self) -> str:
        """Return the model's name and its inputs, for people."""
        name = NAME if self.model_dir == MODEL_DIR else self.model_dir.name
        return name if self.inputs == "both" else f"{name} ({self.inputs})"

    @property
    def fingerprint(self) -> str:
        """Return a digest of weights, graphs, tokenizer and settings; 32 hexadecimal digits.

        The query's rows are not part of it: any number searches an index. Nor are the providers, whose rows
        differ by rounding (`mmrag.onnx_sessions`).
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
        """Return the width of a row; loads the model."""
        return self._load_encoder().dim

    @property
    def modalities(self) -> frozenset[str]:
        """Return the modalities of `inputs`."""
        return frozenset({"both": ("text", "image"), "text": ("text",), "pixels": ("image",)}[self.inputs])

    @property
    def image_pixels(self) -> int:
        """Return the largest picture area that is used; pages are rendered at it."""
        return LONG_SIDE * LONG_SIDE

    @property
    def every_image(self) -> bool:
        """Return whether the picture of a page is wanted whose text is known."""
        return self.inputs == "pixels"

    def encode_query(
        self, queries: Sequence[QueryInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """Encode queries as ``(rows, dim)`` float32 matrices, at most ``budget.query`` rows, in input order.

        Row 0 is the whole question at length 1; the rows of its parts are shorter (see the module docstring).
        A picture in a query is read, and precedes the text. `batch_size` changes nothing.

        Raises:
            TypeError: an input is neither `str` nor `Query`.
            BadInputError: a query's text is blank.
            ValueError: an instruction has more than `INSTRUCTION_ROOM` tokens.
        """
        check_batch(queries, batch_size, "queries")
        items = [as_query(query, position) for position, query in enumerate(queries)]
        for position, query in enumerate(items):
            self._check_instruction(query, position)
        rows = side_by_side(self._query_rows, items, self.threads)
        return list(_with_bar(rows, len(items), "query", "queries") if show_progress else rows)

    def encode_document(
        self, documents: Sequence[DocumentInput], *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Matrix]:
        """Encode documents as ``(rows, dim)`` float32 matrices, at most ``budget.document`` rows, in order.

        Rows of parts are unit vectors, or means of unit vectors (`MiniEncoder.rows`).
        `batch_size` changes nothing.

        Raises:
            UnsupportedInputError: ``inputs="text"`` and an image without text, or ``"pixels"`` and text
                alone.
            TypeError: an input is neither `str`, `Page` nor `Content`.
        """
        check_batch(documents, batch_size, "documents")
        items = [
            _select(as_document(document, position, self.modalities), self.inputs)
            for position, document in enumerate(documents)
        ]
        rows = side_by_side(self._document_rows, items, self.threads)
        return list(_with_bar(rows, len(items), "page", "documents") if show_progress else rows)

    def prepare(self) -> None:
        """Load what a question needs, and compute the fingerprint; both are remembered."""
        self._load_encoder()
        _ = self.fingerprint

    def row_boxes(self, page: Page) -> list[tuple[Box, ...]]:
        """Return the boxes of the words that each row of a page has seen; see `row_boxes`'s module."""
        return row_boxes(self._load_encoder().tokenizer, page, self.budget.document)

    def _check_instruction(self, query: Query, position: int) -> None:
        encoder = self._load_encoder()
        length = len(encoder.tokenizer.tokenize(query.instruction)) if query.instruction else 0
        if length > INSTRUCTION_ROOM:
            raise ValueError(
                f"a query's instruction must have at most {INSTRUCTION_ROOM} tokens, got {length} in query "
                f"{position}. Shorten the instruction."
            )

    def _query_rows(self, query: Query) -> Matrix:
        encoder = self._load_encoder()
        instruction = QUERY_INSTRUCTION if query.instruction is None else query.instruction
        content = encoder.embed(encoder.tokenizer.tokenize(query.text or ""))  # (T, D)
        if query.image is not None:
            content = np.concatenate([self._read_picture(query.image, NO_TEXT), content])
        parts = parts_of(max(len(content), 1), most=FULL.query, smallest=1)
        rows = encoder.rows(content, parts, "query", encoder.tokenizer.tokenize(instruction))  # (R, dim)
        rows[0] /= np.linalg.norm(rows[0])
        levels = [part.level for part in parts[: len(rows)]]
        for row, level in enumerate(levels):
            if level:
                rows[row] *= PART_WEIGHT / LEVELS[level]
        return rows[: self.budget.query]

    def _document_rows(self, document: _Selection) -> Matrix:
        encoder = self._load_encoder()
        content = encoder.embed(encoder.tokenizer.tokenize(document.text))  # (T, D)
        for image in document.images:
            content = np.concatenate([content, self._read_picture(image, document.words)])
        parts = parts_of(max(len(content), 1), most=FULL.document)
        return encoder.rows(content, parts, "document")[: self.budget.document]

    def _read_picture(self, image: Image, text: TextWords) -> Floats:
        """Compute the content vectors ``(T, D)`` of the words in a picture that the text lacks."""
        encoder, reader = self._load()
        words = text.new_words(reader.read(image), image.size)
        pieces = encoder.tokenizer.tokenize_words([word.text for word in words])
        scale = enlargement(image.size, reader.long_side)
        return visual_tokens(words, pieces, encoder.embed, scale=scale, compression=self.compression)

    def _load(self) -> tuple[MiniEncoder, LetterReader]:
        encoder = self._load_encoder()
        with self._lock:
            if self._reader is None:
                self._reader = LetterReader(self.model_dir, long_side=LONG_SIDE, providers=self.providers)
            return encoder, self._reader

    def _load_encoder(self) -> MiniEncoder:
        """Load what text needs; the reader of pictures is loaded with the first picture."""
        with self._lock:
            if self._encoder is None:
                check_sums(self.model_dir)
                is_shipped = self.model_dir == MODEL_DIR
                self._encoder = (
                    shipped_encoder(self.providers)
                    if is_shipped
                    else MiniEncoder(self.model_dir, self.providers)
                )
            return self._encoder


def shipped_encoder(providers: ProviderOrder) -> MiniEncoder:
    """Return the encoder of the package, one a process: embedders of other settings share its weights."""
    with _shipped_lock:  # or two threads that need it first would both load it
        return _load_shipped(providers)


_shipped_lock = new_lock()


@functools.lru_cache(maxsize=8)
def _load_shipped(providers: ProviderOrder) -> MiniEncoder:
    return MiniEncoder(MODEL_DIR, providers)


def _with_bar(rows: Iterator[Matrix], count: int, unit: str, plural: str) -> Iterator[Matrix]:
    """Show a bar of what comes; tqdm takes longer to import than a question to encode."""
    from tqdm import tqdm

    return iter(tqdm(rows, total=count, desc=f"encoding {plural}", unit=unit))


@dataclass(frozen=True, slots=True)
class TextWords:
    """The words of the text that comes with a picture.

    Attributes:
        boxes: ``(n, 4)`` of the words, in 0..1 of the picture; empty if they are unknown.
        words: the words, if their boxes are unknown.
    """

    boxes: Floats
    words: frozenset[str] = frozenset()

    def new_words(self, words: Sequence[ReadWord], size: tuple[int, int]) -> list[ReadWord]:
        """Return the reader's words that the text lacks: centre in no box of it, and not like a word of it.

        Args:
            words: in reading order, boxes in pixels.
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
        inside = ((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).any(1)  # (words,)
        return [word for word, is_inside in zip(words, inside.tolist(), strict=True) if not is_inside]

    def _unlike(self, words: Sequence[ReadWord]) -> list[ReadWord]:
        """Return the words that are neither in the text nor like a word of it.

        The reader splits words and confuses letters. Without boxes a misread word would be added to the word
        itself: on a page of the samples 158 of 372 words. Words of one or two letters are mostly such
        splinters; numbers of any length are looked up as they are.
        """
        text_words, unlike = sorted(self.words), []
        for word in words:
            text = _plain(word.text)
            if text in self.words or (len(text) < 3 and not any(char.isdigit() for char in text)):
                continue
            if text.isdigit() or not difflib.get_close_matches(text, text_words, n=1, cutoff=NEAR):
                unlike.append(word)
        return unlike


NO_TEXT = TextWords(np.zeros((0, 4), np.float32))


@dataclass(frozen=True, slots=True)
class _Selection:
    """The part of a document that is read: text, pictures, and the text's words in them."""

    text: str
    images: tuple[Image, ...]
    words: TextWords = NO_TEXT


def _select(document: Page | Content, inputs: str) -> _Selection:
    """Select the part of a document that a setting of `inputs` reads."""
    if isinstance(document, Page):
        parts: Sequence[Any] = (document.image,)
        boxes = np.array([word.box for word in document.words], np.float32).reshape(-1, 4)
        words = TextWords(boxes)
    else:
        parts = document.parts or (document.image,)
        words = TextWords(NO_TEXT.boxes, frozenset(_plain(word) for word in document.text.split()))
    text = searchable_text(document)
    images = tuple(part for part in parts if part is not None and not isinstance(part, str))
    if inputs == "text":
        return _Selection(text, ())
    return _Selection("", images) if inputs == "pixels" else _Selection(text, images, words)


def _plain(word: str) -> str:
    """Write a word as the reader does: lower case, without accents."""
    letters = unicodedata.normalize("NFKD", word.lower())
    return "".join(char for char in letters if not unicodedata.combining(char)).strip(string.punctuation)


def _check_files(model_dir: Path) -> Path:
    """Return the folder if all files of the model are there."""
    for name in _FILES:
        if not (model_dir / name).is_file():
            raise FileNotFoundError(
                f"{NAME} needs {name} in its folder, got {model_dir} without it. Reinstall mmrag, or pass a "
                "folder that scripts/mini/build.py wrote."
            )
    return model_dir
