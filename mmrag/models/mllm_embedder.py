"""`MLLMEmbedder`: page images and text to nested vectors, by a multimodal language model.

The path of a call::

    inputs -> items (mmrag.models.inputs) -> thoughts -> tokens and pixels (mmrag.models.prompt, backbone)
           -> batches of like length -> one forward pass each (mmrag.models.model) -> matrices in order

Decisions taken here:

* *The budget of tokens is one of pixels.* ``max_visual_tokens`` counts tokens after compression; the default
  is 1280 / s², so the encoder sees the same picture at every s (within a block per side, by rounding) and
  the language model s² fewer tokens (320 at s = 2, as in Magic-MM-Embedding). The reduced-resolution
  baseline of the same token count is ``compression=1, max_visual_tokens=320``.
* *A rendered page is embedded by its picture*; its words are in the index's text channel already.
  ``page_text=True`` embeds both, ``"auto"`` only words that are the file's own and not OCR's.
* *An embedder with the same fingerprint gives the same vectors within rounding.* Weights (as rounded to
  bfloat16), tables, tokenizer, pixel statistics, compression, prompts, limits, the documents' rows and the
  way of thinking are in it; device, number format, batch size and the query's rows are not.
* *A batch does not change a vector* beyond rounding: 1e-5 in float32, see ``docs/models.md`` for others.
* Importing this imports no torch.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.embedders.base import Reasoner
from mmrag.errors import MissingExtraError, check_whole
from mmrag.models.calls import BATCH_SIZE, EncodingCalls
from mmrag.models.fingerprint import fingerprint, server_settings
from mmrag.models.prompt import Prompts
from mmrag.models.registry import embedder_for
from mmrag.types import Budget

if TYPE_CHECKING:
    import torch

    from mmrag.models.checkpoint import CheckpointConfig
    from mmrag.models.compression import Compression
    from mmrag.models.encoder import Encoder
    from mmrag.models.model import RetrievalModel

logger = logging.getLogger(__name__)

VISUAL_TOKENS = 1280
"""Of a page, before compression: the paper's, an area of about 1.3 million pixels in Qwen3-VL."""

MAX_TOKENS = 8192

MINI = "mmrag-mini"
"""Our own model, which ships in the package and needs no torch (`mmrag.embedders.mini`)."""

_DEFAULTS = {
    "max_tokens": MAX_TOKENS,
    "batch_size": BATCH_SIZE,
    "page_text": False,
    "on_error": "raise",
    "allow_untrained": False,
}
"""Arguments of `from_pretrained` whose default is not None."""


class MLLMEmbedder(EncodingCalls):
    """A multimodal language model as an embedder of text and images, nested vectors out.

    Made by `from_pretrained`, or of a model in memory:

    Args:
        model: in evaluation mode, on its device.
        config: its settings.
        name: for people.
        max_tokens: most tokens of an input without meta tokens; longer text is cut at its end.
        batch_size: most inputs of a forward pass.
        page_text: whether the text of a rendered page is embedded with its picture.
        thoughts: writes the thoughts of inputs without one; None: inputs keep the thought they have.
        on_error: ``"raise"``, or ``"skip"`` to leave out inputs that cannot be embedded.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> from mmrag.models.tiny import make_tiny
        >>> embedder = MLLMEmbedder.from_pretrained(make_tiny("tiny"), compression=2, allow_untrained=True)
        >>> embedder.encode_query(["Who chairs the board?"])[0].shape
        (16, 64)
    """

    _encoder: Encoder

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
        super().__init__(
            max_tokens=max_tokens,
            batch_size=batch_size,
            page_text=page_text,
            thoughts=thoughts,
            on_error=on_error,
        )
        from mmrag.models import encoder  # needs torch

        factor = config.compression.factor
        visual = config.max_visual_tokens
        visual = VISUAL_TOKENS // factor**2 if visual is None else check_whole("max_visual_tokens", visual)
        template = model.backbone.template(config.prompts, max_tokens)
        self.model = model
        self.config = config
        self.max_visual_tokens = visual
        self._name = name
        self._encoder = encoder.Encoder(model, template, max_visual_tokens=visual, batch_size=batch_size)
        self._fingerprint: str | None = None
        self._reload: Callable[[], MLLMEmbedder] | None = None

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
        family: str | None = None,
        **options: Any,  # noqa: ANN401  of a foreign class
    ) -> Any:  # noqa: ANN401  this class, or a foreign checkpoint's embedder
        """Load a checkpoint: a folder, or a hub name, which is fetched if it is not on this machine.

        ``"mmrag-mini"`` is our own model, a `mmrag.MiniEmbedder`: it takes
        `compression`, `budget`, `pooling` and the options of that class, and needs no torch.

        Defaults are the checkpoint's own settings: see `mmrag.models.checkpoint.CheckpointConfig`. A plain
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
            allow_untrained: accept untrained tables, to try things out.
            revision: of a hub repository.
            local_files_only: fetch nothing.
            family: overrides the rules of `mmrag.models.registry`; ``"mmrag"``: a backbone or a checkpoint
                of ours.
            options: of a checkpoint of another design, for example ``query_template`` of ColQwen2.

        Returns:
            An `MLLMEmbedder`; for a checkpoint of another design, such as ColQwen2, its embedder.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            FileNotFoundError: the checkpoint or a file of it is missing and cannot be fetched.
            ValueError: no such checkpoint, or a setting that it does not have.
            TypeError: an unknown option.
        """
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
        target: dict[str, Any] = {"device": device, "dtype": dtype}
        hub: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        if name_or_path == MINI and family is None:
            return _load_mini({**use, **wish, **target}, options)
        _require_extra()
        from mmrag.models import checkpoint
        from mmrag.models.device import pick_device, pick_dtype, resolve_folder

        name = _shown_name(name_or_path)
        folder = resolve_folder(str(name_or_path), **hub)
        config_json = checkpoint.read_json(folder / "config.json")
        design = embedder_for(folder, config_json, name=str(name_or_path), family=family)
        if design is not None:
            settings = {key: value for key, value in {**wish, **use}.items() if value != _DEFAULTS.get(key)}
            return design.from_folder(folder, name=name, **settings, **target, **options)
        if options:
            raise TypeError(f"from_pretrained takes no {', '.join(sorted(options))} for this checkpoint.")
        torch_device = pick_device(device)
        torch_dtype = pick_dtype(dtype, checkpoint.own_dtype(folder), torch_device)
        overrides = checkpoint.Overrides(**wish)
        model, config = checkpoint.load(folder, overrides, device=torch_device, dtype=torch_dtype)
        embedder = cls(model, config, name=name, **use)
        embedder._reload = functools.partial(
            cls.from_pretrained, str(name_or_path), **use, **wish, **target, **hub
        )
        return embedder

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint that `from_pretrained` reads with the same fingerprint.

        The tables are written whole, whatever the budget. An untrained table stays marked as one.
        """
        from mmrag.models import checkpoint

        checkpoint.save(Path(folder), self.model, self.config)

    def __reduce__(self) -> tuple[Any, ...]:
        """Reduce to the source and the settings; weights are loaded again.

        Raises:
            TypeError: it was made of a model in memory.
        """
        if self._reload is None:
            raise TypeError(
                f"an MLLMEmbedder of a model in memory cannot be pickled, got {self!r}. Write it with "
                "save_pretrained and load that folder."
            )
        return self._reload, ()

    def __repr__(self) -> str:
        return (
            f"MLLMEmbedder({self.name!r}, budget=({self.budget.query}, {self.budget.document}), "
            f"dim={self.dim}, max_visual_tokens={self.max_visual_tokens}, device='{self._encoder.device}')"
        )

    # ---- what it is --------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Return checkpoint and compression, for people."""
        return f"{self._name} (compression {self.config.compression.factor})"

    @property
    def fingerprint(self) -> str:
        """Return a digest of all that changes its vectors beyond rounding; 32 hexadecimal digits.

        Reads all weights on first use: a second or two of one core for each GB, on several cores.
        """
        if self._fingerprint is None:
            from mmrag.models import checkpoint, digests

            backbone = self.model.backbone
            settings = server_settings(
                self.config,
                weights=digests.state_digest(backbone.model.state_dict().values()),
                tables=digests.exact_digest(checkpoint.tables_of(self.model)),
                vocabulary=self._encoder.template.vocabulary,
                pixels=digests.processor_settings(backbone.image_processor),
                dim=self.dim,
                max_visual_tokens=self.max_visual_tokens,
                max_tokens=self.max_tokens,
            )
            self._fingerprint = fingerprint(
                settings, rows=self.budget.document, page_text=self.page_text, thoughts=self.thoughts
            )
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Return the width of a vector."""
        return self.model.dim

    @property
    def budget(self) -> Budget:
        """Return the most rows per query and per document."""
        return self.config.budget

    @property
    def modalities(self) -> frozenset[str]:
        """Return text, and images if the backbone takes them."""
        return frozenset({"text", "image"} if self.model.backbone.sees else {"text"})

    def _instruction(self, side: str) -> str:
        return self.config.prompts.query if side == "query" else self.config.prompts.document

    @property
    def image_pixels(self) -> int:
        """Return the largest picture area that is used; pages are rendered at it."""
        return self.model.backbone.pixels(self.max_visual_tokens, self.config.compression)


def _require_extra() -> None:
    """Raise MissingExtraError unless torch, transformers, safetensors and scipy can be imported."""
    try:
        for package in ("torch", "transformers", "safetensors", "scipy"):
            import_module(package)
    except ImportError as error:
        raise MissingExtraError("MLLMEmbedder", "mllm") from error


def _load_mini(settings: dict[str, Any], options: dict[str, Any]) -> Any:  # noqa: ANN401  a MiniEmbedder
    """Load mmrag-mini with the settings that it has; a batch size changes nothing there.

    Raises:
        ValueError: a setting that it does not have.
    """
    from mmrag.embedders.mini.embedder import COMPRESSION, FULL, MiniEmbedder

    _check_mini_settings(settings)
    compression, budget = settings["compression"], settings["budget"]
    if settings["pooling"] == "last":  # row 0 is its single vector
        budget = Budget(1, 1)
    factor = getattr(compression, "factor", compression)
    return MiniEmbedder(
        compression=COMPRESSION if factor is None else factor,
        budget=FULL if budget is None else budget,
        **options,
    )


def _check_mini_settings(settings: dict[str, Any]) -> None:
    """Check that mmrag-mini has all settings that differ from the defaults.

    Raises:
        ValueError: it has not.
    """
    pooling = settings["pooling"]
    neutral = {**_DEFAULTS, "device": ("auto", "cpu"), "dtype": ("auto", "float32"), "dim": (None, 128)}
    own_settings = ("batch_size", "compression", "budget", "pooling")
    for name, value in settings.items():
        default = neutral.get(name)
        is_default = value in default if isinstance(default, tuple) else value == default
        if name not in own_settings and not is_default:
            raise ValueError(
                f"{MINI} takes no {name}, got {value!r}. It runs on the CPU without torch; family='mmrag' "
                "loads its text side with torch."
            )
    if pooling not in (None, "meta", "last"):
        raise ValueError(f"pooling must be 'meta' or 'last', got {pooling!r}.")


def _shown_name(name: str | Path) -> str:
    folder = Path(name).expanduser()
    return folder.resolve().name if folder.is_dir() else str(name)
