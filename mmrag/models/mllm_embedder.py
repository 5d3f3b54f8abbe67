"""`MLLMEmbedder`: page images and text to nested vectors, by a multimodal language model.

The way of a call::

    inputs -> items (mmrag.models.inputs) -> thoughts -> tokens and pixels (mmrag.models.prompt, backbone)
           -> batches of like length -> one forward pass each (mmrag.models.model) -> matrices in order

Decisions taken here:

* *The budget of tokens is one of pixels.* ``max_visual_tokens`` counts tokens after compression; left out
  it is 1280 / s², so the encoder sees the same picture at every s and the language model s² fewer tokens
  (320 at s = 2, as in Magic-MM-Embedding). The reduced-resolution baseline of the same token count is
  ``compression=1, max_visual_tokens=320``.
* *A page that was rendered is embedded by its picture*; its words are in the index's text channel already.
  ``page_text=True`` sends both, ``"auto"`` where the words are the file's own and not OCR.
* *An embedder with the same fingerprint gives the same vectors within rounding.* Weights (as rounded to
  bfloat16), tables, tokenizer, pixel statistics, compression, prompts, limits, the documents' rows and the
  way of thinking are in it; device, number format, batch size and the query's rows are not.
* *A batch does not change a vector* beyond rounding: 1e-5 in float32, see ``docs/models.md`` for others.
* Importing this imports no torch.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from mmrag.embedder import DocumentInput, EmbedderBase, QueryInput, Reasoner
from mmrag.errors import BadInputError, MissingExtraError
from mmrag.models.inputs import PAGE_TEXT, Item, document_item, query_item
from mmrag.models.prompt import Layout, Prompts
from mmrag.types import Budget, Matrix

if TYPE_CHECKING:
    import torch

    from mmrag.models.checkpoint import CheckpointConfig
    from mmrag.models.compression import Compression
    from mmrag.models.encoder import Encoder, Prepared
    from mmrag.models.model import RetrievalModel

logger = logging.getLogger(__name__)

VISUAL_TOKENS = 1280
"""Of a page, before compression: the paper's, an area of about 1.3 million pixels in Qwen3-VL."""

MAX_TOKENS = 8192
BATCH_SIZE = 32
ON_ERROR = ("raise", "skip")
PICTURES = 16
"""Inputs whose pixels are in memory together, twice: about 30 MB each at the paper's size."""

_LEFT_OUT = {
    "max_tokens": MAX_TOKENS,
    "batch_size": BATCH_SIZE,
    "page_text": False,
    "on_error": "raise",
    "allow_untrained": False,
}
"""Arguments of `from_pretrained` whose default is not None."""

_PIXELS_A_TOKEN = 32 * 32  # Qwen3-VL; 28 * 28 in the other families, so never too small a picture
_ALGORITHM = "mllm-1"  # part of the fingerprint: raise it when the same settings give other vectors


class Encoded(list[Any]):
    """The matrices of a call, in input order, and what has to be said of single inputs.

    With ``on_error="skip"`` the place of an input that was left out holds None.

    Attributes:
        skipped: place of each input left out, and why.
        cut: places of inputs whose text was longer than ``max_tokens`` and was cut.
    """

    def __init__(self, matrices: Sequence[Matrix | None] = ()) -> None:
        super().__init__(matrices)
        self.skipped: dict[int, str] = {}
        self.cut: list[int] = []


class MLLMEmbedder(EmbedderBase):
    """A multimodal language model as an embedder of text and images, nested vectors out.

    Made by `from_pretrained`, or of a model in memory:

    Args:
        model: in evaluation mode, on its device.
        config: what it is used with.
        name: what people call it.
        max_tokens: most tokens of an input without meta tokens; longer text is cut at its end.
        batch_size: most inputs of a forward pass.
        page_text: whether the text of a rendered page is embedded with its picture.
        thoughts: writes the thoughts of inputs that bring none; None: no thoughts but given ones.
        on_error: ``"raise"``, or ``"skip"`` to leave out inputs that cannot be embedded.

    Raises:
        ValueError: an argument is out of its range.
    """

    nested = True
    """Rows are a nested prefix: any budget may be searched with."""

    def __init__(
        self,
        model: RetrievalModel,
        config: CheckpointConfig,
        *,
        name: str,
        max_tokens: int = MAX_TOKENS,
        batch_size: int = BATCH_SIZE,
        page_text: bool | str = False,
        thoughts: Reasoner | None = None,
        on_error: str = "raise",
    ) -> None:
        _whole("max_tokens", max_tokens)
        _whole("batch_size", batch_size)
        _one_of("page_text", page_text, PAGE_TEXT)
        _one_of("on_error", on_error, ON_ERROR)
        encoder_class = _torch_part("encoder").Encoder
        factor = config.compression.factor
        visual = config.max_visual_tokens or VISUAL_TOKENS // factor**2
        layout = Layout(model.backbone.tokenizer, config.prompts, max_tokens, model.backbone.image_token)
        self.model = model
        self.config = config
        self.max_tokens = max_tokens
        self.max_visual_tokens = _whole("max_visual_tokens", visual)
        self.batch_size = batch_size
        self.page_text = page_text
        self.thoughts = thoughts
        self.on_error = on_error
        self._name = name
        self._encoder: Encoder = encoder_class(model, layout, max_visual_tokens=visual, batch_size=batch_size)
        self._fingerprint: str | None = None
        self._again: Callable[[], MLLMEmbedder] | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        compression: int | Compression | None = None,
        budget: Budget | None = None,
        dim: int | None = None,
        pooling: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        batch_size: int = BATCH_SIZE,
        max_visual_tokens: int | None = None,
        max_tokens: int = MAX_TOKENS,
        prompts: Prompts | None = None,
        page_text: bool | str = False,
        thoughts: Reasoner | None = None,
        on_error: str = "raise",
        allow_untrained: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Any:  # noqa: ANN401  this class, or a foreign checkpoint's embedder
        """Load a checkpoint: a folder, or a hub name, which is fetched where it is not on this machine.

        What is left out is the checkpoint's own: see `mmrag.models.checkpoint.CheckpointConfig`. A plain
        backbone has compression 2 and `Budget(16, 64)`, and needs `allow_untrained` or ``pooling="last"``.

        Args:
            name_or_path: folder or ``org/name``.
            compression: factor per axis, 1 to 4, or a `Compression` with its options.
            budget: most rows of a query and of a document; up to the trained tables, any prefix is exact.
            dim: width of a single vector (Matryoshka prefix); of multi-vectors the checkpoint's own.
            pooling: ``"meta"`` (nested vectors) or ``"last"`` (one vector).
            device: ``"auto"`` (CUDA, MPS, CPU) or a name.
            dtype: ``"auto"``: the checkpoint's own, on a CPU never float16 and bfloat16 only where the
                processor computes in it; or a format.
            batch_size: see `MLLMEmbedder`.
            max_visual_tokens: of an image, after compression; None: the checkpoint's, or 1280 / s².
            max_tokens: see `MLLMEmbedder`.
            prompts: the words around an input.
            page_text: see `MLLMEmbedder`.
            thoughts: see `MLLMEmbedder`.
            on_error: see `MLLMEmbedder`.
            allow_untrained: take tables that mean nothing, to try things out.
            revision: of a hub repository.
            local_files_only: fetch nothing.

        Returns:
            An `MLLMEmbedder`; for a checkpoint of another design, such as ColQwen2, its embedder.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            FileNotFoundError: the checkpoint or a file of it is not there and cannot be fetched.
            ValueError: it is no such checkpoint, or is asked for what it does not have.
        """
        checkpoint, places = _torch_part("checkpoint"), _torch_part("places")
        use: dict[str, Any] = {
            "max_tokens": max_tokens,
            "batch_size": batch_size,
            "page_text": page_text,
            "thoughts": thoughts,
            "on_error": on_error,
        }
        wish: dict[str, Any] = {
            "compression": compression,
            "pooling": pooling,
            "budget": budget,
            "dim": dim,
            "prompts": prompts,
            "max_visual_tokens": max_visual_tokens,
            "allow_untrained": allow_untrained,
        }
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        hub: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        folder = places.resolve_folder(str(name_or_path), **hub)
        foreign = _foreign(folder, str(name_or_path))
        if foreign is not None:
            given = {k: v for k, v in {**wish, **use}.items() if v != _LEFT_OUT.get(k)}
            return foreign.from_folder(folder, name=_shown_name(name_or_path), **given, **place)
        where = places.pick_device(device)
        wanted = checkpoint.wanted(**wish)
        number = places.pick_dtype(dtype, checkpoint.own_dtype(folder), where)
        model, config = checkpoint.load(folder, wanted, device=where, dtype=number)
        made = cls(model, config, name=_shown_name(name_or_path), **use)
        made._again = functools.partial(cls.from_pretrained, str(name_or_path), **use, **wish, **place, **hub)
        return made

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint that `from_pretrained` reads with the same fingerprint.

        The tables are written whole, whatever the budget. An untrained table stays marked as one.
        """
        _torch_part("checkpoint").save(Path(folder), self.model, self.config)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where it came from and the settings; weights are loaded again.

        Raises:
            TypeError: it was made of a model in memory.
        """
        if self._again is None:
            raise TypeError(
                f"an MLLMEmbedder of a model in memory cannot be pickled, got {self!r}. Write it with "
                "save_pretrained and load that folder."
            )
        return self._again, ()

    def __repr__(self) -> str:
        return (
            f"MLLMEmbedder({self.name!r}, budget=({self.budget.query}, {self.budget.document}), "
            f"dim={self.dim}, max_visual_tokens={self.max_visual_tokens}, device='{self._encoder.device}')"
        )

    # ---- what it is --------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Checkpoint and compression, for people."""
        return f"{self._name} (compression {self.config.compression.factor})"

    @property
    def fingerprint(self) -> str:
        """Digest of all that changes its vectors beyond rounding; 32 hexadecimal digits.

        Reads all weights on first use: about a second for each 2 GB.
        """
        if self._fingerprint is None:
            checkpoint = _torch_part("checkpoint")
            config, backbone = self.config, self.model.backbone
            settings = {
                "algorithm": _ALGORITHM,
                "family": config.model_type,
                "weights": checkpoint.state_digest(backbone.model.state_dict().values()),
                "tables": checkpoint.exact_digest(checkpoint.tables_of(self.model)),
                "tokenizer": hashlib.sha256(self._encoder.layout.vocabulary.encode()).hexdigest(),
                "pixels": checkpoint.processor_settings(backbone.image_processor),
                "compression": repr(config.compression),
                "pooling": config.pooling,
                "dim": self.dim,
                "rows": self.budget.document,
                "prompts": repr(config.prompts),
                "max_visual_tokens": self.max_visual_tokens,
                "max_tokens": self.max_tokens,
                "page_text": self.page_text,
                "thoughts": None if self.thoughts is None else self.thoughts.fingerprint,
            }
            digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
            self._fingerprint = digest.hexdigest()[:32]
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.model.dim

    @property
    def budget(self) -> Budget:
        """Rows it gives on each side."""
        return self.config.budget

    @property
    def modalities(self) -> frozenset[str]:
        """Text and images."""
        return frozenset({"text", "image"})

    @property
    def image_pixels(self) -> int:
        """Largest picture area that it makes use of: what pages are rendered at."""
        return self.max_visual_tokens * self.config.compression.factor**2 * _PIXELS_A_TOKEN

    # ---- encoding ----------------------------------------------------------------------------------

    def encode_query(
        self,
        queries: Sequence[QueryInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Encoded:
        """One ``(budget.query, dim)`` float32 matrix a query, rows L2-normalised, in input order.

        Args:
            queries: `str` or `Query`.
            batch_size: most inputs of a forward pass; no more than the embedder's own.
            show_progress: draw a bar.
            on_error: instead of the embedder's own.

        Raises:
            BadInputError: a query cannot be embedded.
            TypeError: an input is neither `str` nor `Query`.
        """
        return self._encode(queries, "query", batch_size, show_progress, on_error)

    def encode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Encoded:
        """One ``(budget.document, dim)`` float32 matrix a document, rows L2-normalised, in input order.

        Args:
            documents: `str`, `Page` or `Content`; one without anything in it has a vector, too.
            batch_size: see `encode_query`.
            show_progress: see `encode_query`.
            on_error: see `encode_query`.

        Raises:
            BadInputError: a document cannot be embedded.
            TypeError: an input is neither `str`, `Page` nor `Content`.
        """
        return self._encode(documents, "document", batch_size, show_progress, on_error)

    def _encode(
        self,
        given: Sequence[Any],
        side: str,
        batch_size: int | None,
        show_progress: bool,
        on_error: str | None,
    ) -> Encoded:
        what = "queries" if side == "query" else "documents"
        if isinstance(given, str | bytes) or not isinstance(given, Sequence):
            raise TypeError(
                f"{what} must be a list, got {type(given).__name__}. Wrap a single one in a list."
            )
        size = self.batch_size if batch_size is None else _whole("batch_size", batch_size)
        rule = _one_of("on_error", self.on_error if on_error is None else on_error, ON_ERROR)
        done = Encoded([None] * len(given))
        rows = self.budget.query if side == "query" else self.budget.document
        items = self._items(given, side, rule, done)
        with tqdm(total=len(given), desc=f"encoding {what}", unit="input", disable=not show_progress) as bar:
            bar.update(len(done.skipped))
            for window in self._windows(items, side):
                ready = _sorted_out(window, rule, done)
                places = list(ready)
                for place, matrix in self._encoder.encode(list(ready.values()), side, rows, size):
                    done[places[place]] = matrix
                    bar.update()
                bar.update(len(window) - len(ready))
        if done.cut:
            logger.warning(
                "%d of %d %s were longer than max_tokens=%d and their text was cut, the first at %d",
                len(done.cut), len(given), what, self.max_tokens, done.cut[0],
            )  # fmt: skip
        return done

    def _items(self, given: Sequence[Any], side: str, rule: str, done: Encoded) -> dict[int, Item]:
        """Every input as an item, thoughts included; what is none is left out or refused."""
        items: dict[int, Item] = {}
        for place, one in enumerate(given):
            try:
                if side == "query":
                    items[place] = query_item(one, place, self.config.prompts.query)
                else:
                    items[place] = document_item(one, place, self.config.prompts.document, self.page_text)
            except (TypeError, BadInputError) as error:
                if rule == "raise":
                    raise
                done.skipped[place] = str(error)
        if self.thoughts is not None:
            wanting = [place for place, item in items.items() if not item.thought]
            inputs = [given[place] for place in wanting]
            think = self.thoughts.think_queries if side == "query" else self.thoughts.think_documents
            for place, thought in zip(wanting, think(inputs) if inputs else (), strict=True):
                items[place] = replace(items[place], thought=thought)
        return items

    def _windows(self, items: Mapping[int, Item], side: str) -> Iterator[dict[int, Prepared | BadInputError]]:
        """Inputs as tokens and pixels: all texts at once, images `PICTURES` at a time and one window ahead.

        Images are decoded and resized in threads, while the model works on the window before.
        """

        def prepare(place: int) -> Prepared | BadInputError:
            try:
                return self._encoder.prepare(items[place], side)
            except ValueError as error:
                return BadInputError(side, place, str(error))

        places = list(items)
        if all(isinstance(part, str) for item in items.values() for part in item.parts):
            yield {place: prepare(place) for place in places}
            return
        pool = ThreadPoolExecutor(_torch_part("places").worker_threads(), thread_name_prefix="mmrag-images")
        ahead: deque[dict[int, Future[Prepared | BadInputError]]] = deque()
        try:
            for start in range(0, len(places), PICTURES):
                ahead.append({at: pool.submit(prepare, at) for at in places[start : start + PICTURES]})
                if len(ahead) == 2:
                    yield {at: future.result() for at, future in ahead.popleft().items()}
            while ahead:
                yield {at: future.result() for at, future in ahead.popleft().items()}
        finally:
            pool.shutdown(cancel_futures=True)

    async def aencode_query(
        self,
        queries: Sequence[QueryInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Encoded:
        """`encode_query` in a thread."""
        return await asyncio.to_thread(
            self.encode_query, queries, batch_size=batch_size, show_progress=show_progress, on_error=on_error
        )

    async def aencode_document(
        self,
        documents: Sequence[DocumentInput],
        *,
        batch_size: int | None = None,
        show_progress: bool = False,
        on_error: str | None = None,
    ) -> Encoded:
        """`encode_document` in a thread."""
        return await asyncio.to_thread(
            self.encode_document,
            documents,
            batch_size=batch_size,
            show_progress=show_progress,
            on_error=on_error,
        )


def _sorted_out(
    window: Mapping[int, Prepared | BadInputError], rule: str, done: Encoded
) -> dict[int, Prepared]:
    """The inputs of a window that can be embedded; the others are noted, or raised."""
    ready: dict[int, Prepared] = {}
    for place, result in window.items():
        if isinstance(result, BadInputError):
            if rule == "raise":
                raise result
            done.skipped[place] = str(result)
            continue
        ready[place] = result
        if result.cut:
            done.cut.append(place)
    return ready


def _torch_part(name: str) -> Any:  # noqa: ANN401  a module
    """A module of this room that needs torch.

    Raises:
        MissingExtraError: torch, transformers or safetensors is not installed.
    """
    try:
        return import_module(f"mmrag.models.{name}")
    except ImportError as error:
        raise MissingExtraError("MLLMEmbedder", "mllm") from error


def _foreign(folder: Path, name: str) -> Any:  # noqa: ANN401  a class of another room's making
    """The embedder of a checkpoint of another design; None for ours and for plain backbones."""
    from mmrag.models import foreign

    config = _torch_part("checkpoint").read_json(folder / "config.json")
    return foreign.find(folder, config, name=name)


def _shown_name(name: str | Path) -> str:
    folder = Path(name).expanduser()
    return folder.resolve().name if folder.is_dir() else str(name)


def _whole(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return value


def _one_of(name: str, value: Any, known: Sequence[Any]) -> Any:  # noqa: ANN401
    if not any(value is one or (isinstance(value, str) and value == one) for one in known):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}.")
    return value
