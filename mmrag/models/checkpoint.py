"""Checkpoints: a directory that ``transformers`` understands, with two files of ours.

::

    config.json, *.safetensors          the backbone, as transformers saves it
    tokenizer.json, ...                 tokenizer and image processor
    mmrag_config.json                   `CheckpointConfig`: what the model was trained with
    mmrag_tables.safetensors            meta.query, meta.document, projection.weight; float32

Nothing is pickled and no code of a checkpoint is run: weights are read from safetensors only, and a
checkpoint whose ``model_type`` needs code of its own is refused. A checkpoint without our two files is a
plain backbone: its tables would be random, so it is refused for retrieval unless asked for.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmrag.models.compression import Compression, as_compression
from mmrag.models.meta_tokens import MetaTokens
from mmrag.models.model import RetrievalModel
from mmrag.models.prompt import Prompts
from mmrag.models.registry import BACKBONES, backbone_for
from mmrag.types import Budget

if TYPE_CHECKING:
    from mmrag.models.backbone import Backbone

logger = logging.getLogger(__name__)

CONFIG_FILE = "mmrag_config.json"
TABLES_FILE = "mmrag_tables.safetensors"
FORMAT_VERSION = 1

POOLINGS = ("meta", "last")
DEFAULT_BUDGET = Budget(16, 64)
DEFAULT_COMPRESSION = Compression(2)


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """Settings that a model was trained with; defaults of its use.

    Attributes:
        model_type: of the backbone.
        compression: of visual tokens.
        pooling: ``"meta"``: states of meta tokens; ``"last"``: state of the last content token.
        budget: rows of the two tables; `Budget(1, 1)` for ``"last"``.
        dim: width of the projection, or of a single vector's Matryoshka prefix; None: that of the states.
        prompts: the words around an input.
        max_visual_tokens: of an image, after compression; None: 1280 / s².
        trained: whether its vectors mean anything.
        query_first: whether a document's meta tokens come after the query's.
    """

    model_type: str
    compression: Compression = DEFAULT_COMPRESSION
    pooling: str = "meta"
    budget: Budget = DEFAULT_BUDGET
    dim: int | None = None
    prompts: Prompts = field(default_factory=Prompts)
    max_visual_tokens: int | None = None
    trained: bool = False
    query_first: bool = True

    def to_json(self) -> str:
        """Write the content of `CONFIG_FILE`."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> CheckpointConfig:
        """Read `CONFIG_FILE`.

        Raises:
            ValueError: not JSON, of another format version, or a wrong value.
        """
        try:
            values = json.loads(text)
            version = values.pop("format_version")
            if version != FORMAT_VERSION:
                raise ValueError(f"format_version must be {FORMAT_VERSION}, got {version!r}")
            values["compression"] = Compression(**values["compression"])
            values["budget"] = Budget(**values["budget"])
            values["prompts"] = Prompts(**values["prompts"])
            config = cls(**values)
            if config.pooling not in POOLINGS:
                raise ValueError(f"pooling must be one of {POOLINGS}, got {config.pooling!r}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{where} must be one that this version of mmrag writes, got: {error!s}. Save the checkpoint "
                "again, or update mmrag."
            ) from error
        return config


@dataclass(frozen=True, slots=True)
class Overrides:
    """A caller's settings in place of the checkpoint's; None keeps the checkpoint's."""

    compression: Compression | int | None = None
    pooling: str | None = None
    budget: Budget | None = None
    dim: int | None = None
    prompts: Prompts | None = None
    max_visual_tokens: int | None = None
    allow_untrained: bool = False


def load(
    folder: Path, overrides: Overrides, *, device: torch.device, dtype: torch.dtype
) -> tuple[RetrievalModel, CheckpointConfig]:
    """Load the model of a folder onto a device, with the settings it is to be used with.

    The budget may be smaller than the tables (a prefix of the rows is exact) and no larger. Another
    compression than the trained one is allowed with a warning. Another width is allowed for the single
    vector only.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is no such checkpoint, an override does not apply to it, or its tables are
            untrained and `Overrides.allow_untrained` is not set.
    """
    family, config, file_config = settings_of(folder, overrides)
    check_weights(folder)
    backbone = family(*family.load_parts(str(folder), dtype=dtype, local_files_only=True))
    model = _assemble(backbone, config, file_config, folder)
    return model.to(device).eval(), config


def settings_of(
    folder: Path, overrides: Overrides
) -> tuple[type[Backbone], CheckpointConfig, CheckpointConfig | None]:
    """Return the family of a checkpoint, the settings it is to be used with, and those in its own file.

    Raises:
        ValueError: see `load`.
    """
    model_type = read_model_type(folder)
    file_config = read_config(folder)
    family = backbone_for(model_type)
    default = CheckpointConfig(model_type, **family.defaults)
    return family, _apply_overrides(file_config or default, file_config, overrides, folder), file_config


def save(folder: Path, model: RetrievalModel, config: CheckpointConfig) -> None:
    """Write a checkpoint; `CONFIG_FILE` last, so that a folder without it is incomplete."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    backbone = model.backbone
    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    backbone.image_processor.save_pretrained(folder)
    tables = {name: tensor.float().cpu().contiguous() for name, tensor in tables_of(model).items()}
    if tables:
        save_file(tables, folder / TABLES_FILE)
    else:
        (folder / TABLES_FILE).unlink(missing_ok=True)
    budget = model.budget  # of the tables, whatever smaller one the caller used
    (folder / CONFIG_FILE).write_text(replace(config, budget=budget).to_json(), encoding="utf-8")


def tables_of(model: RetrievalModel) -> dict[str, Tensor]:
    """Return the tensors of `TABLES_FILE`, detached."""
    tables: dict[str, Tensor] = {}
    if model.meta is not None:
        tables |= {"meta.query": model.meta.query.detach(), "meta.document": model.meta.document.detach()}
    if model.projection is not None:
        tables["projection.weight"] = model.projection.weight.detach()
    return tables


# ---- what a folder holds ---------------------------------------------------------------------------


def read_config(folder: Path) -> CheckpointConfig | None:
    """Read our config of a folder; None for a plain backbone.

    A weights file that holds the tables itself (`Backbone.own_tables`) needs no config: such a model is
    trained, and its other settings are its family's defaults.

    Raises:
        ValueError: it cannot be read.
    """
    path = folder / CONFIG_FILE
    if path.is_file():
        return CheckpointConfig.from_json(path.read_text(encoding="utf-8"), str(path))
    model_type = str(read_json(folder / "config.json").get("model_type"))
    if model_type not in BACKBONES:
        return None
    return _config_of_tables(model_type, folder)


def _config_of_tables(model_type: str, folder: Path) -> CheckpointConfig | None:
    """Return the config of a model whose weights file holds the tables; None without tables."""
    family = backbone_for(model_type)
    tables = family.own_tables(folder)
    if not tables:
        return None
    budget = Budget(len(tables["meta.query"]), len(tables["meta.document"]))
    projection = tables.get("projection.weight")
    dim = None if projection is None else len(projection)
    settings = {**family.defaults, "budget": budget, "dim": dim, "trained": True}
    return CheckpointConfig(model_type, **settings)


def read_model_type(folder: Path) -> str:
    """Return the ``model_type`` of config.json.

    Raises:
        FileNotFoundError: there is no config.json.
        ValueError: the model type is unknown, or needs code of its own.
    """
    config = read_json(folder / "config.json")
    model_type = str(config.get("model_type"))
    try:
        backbone_for(model_type)
    except ValueError as error:
        hint = " It brings code of its own, which is never run here." if "auto_map" in config else ""
        raise ValueError(f"{folder}: {error}{hint}") from error
    return model_type


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not a JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"a checkpoint must have a {path.name}, got {path.parent} without. Pass the folder that "
            "save_pretrained wrote."
        )
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, got {error}. Copy the file again.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must be a JSON object, got {type(value).__name__}. Copy the file again.")
    return value


def check_weights(folder: Path) -> None:
    """Refuse a folder without safetensors.

    Raises:
        FileNotFoundError: there are none.
    """
    if not {path.name for path in folder.glob("*.safetensors")} - {TABLES_FILE}:
        other_formats = sorted(
            path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".gguf")
        )
        raise FileNotFoundError(
            f"the weights must be safetensors, got {', '.join(other_formats) or 'no weights'} in {folder}. "
            "Other formats can carry code and are not read; convert them with transformers' save_pretrained."
        )


def own_dtype(folder: Path) -> torch.dtype:
    """Return the dtype that config.json names, or float32."""
    config = read_json(folder / "config.json")
    for part in (config, config.get("text_config") or {}):
        dtype = getattr(torch, str(part.get("dtype") or part.get("torch_dtype")), None)
        if isinstance(dtype, torch.dtype):
            return dtype
    return torch.float32


# ---- overrides -------------------------------------------------------------------------


def _apply_overrides(
    config: CheckpointConfig, file_config: CheckpointConfig | None, overrides: Overrides, folder: Path
) -> CheckpointConfig:
    """Return `config` with a caller's settings; refuse settings that the checkpoint does not have.

    Args:
        config: `file_config`, or the family's defaults.
        file_config: of the folder; None for a plain backbone.
        overrides: of the caller.
        folder: for messages.
    """
    pooling = overrides.pooling or config.pooling
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {POOLINGS}, got {pooling!r}.")
    has_table = file_config is not None and file_config.pooling == "meta"
    is_trained = file_config is not None and file_config.trained and (pooling == "last" or has_table)
    _check_trained(pooling, has_table, is_trained, overrides, folder)
    compression = as_compression(overrides.compression) or config.compression
    if file_config is not None and file_config.trained and compression != file_config.compression:
        logger.warning(
            "%s was trained with %s and is used with %s: expect worse vectors, and none that fit its own",
            folder, file_config.compression, compression,
        )  # fmt: skip
    budget = Budget(1, 1) if pooling == "last" else overrides.budget or config.budget
    dim = config.dim if overrides.dim is None else overrides.dim
    if has_table and pooling == "meta":
        _check_fits_tables(config, budget, dim)
    visual = overrides.max_visual_tokens
    if visual is None and compression.factor == config.compression.factor:
        visual = config.max_visual_tokens  # of another factor it would mean another number of pixels
    return replace(
        config,
        pooling=pooling,
        compression=compression,
        budget=budget,
        dim=dim,
        prompts=overrides.prompts or config.prompts,
        max_visual_tokens=visual,
        trained=is_trained,
    )


def _check_trained(
    pooling: str, has_table: bool, is_trained: bool, overrides: Overrides, folder: Path
) -> None:
    """Refuse untrained meta tokens unless they are allowed; warn of an untrained single vector."""
    if is_trained:
        return
    if pooling == "last":
        logger.warning("nothing says that %s was trained to embed; a chat model's vectors are poor", folder)
    elif not overrides.allow_untrained:
        problem = "an untrained table" if has_table else "a checkpoint without a table"
        raise ValueError(
            f"the meta tokens of {folder} must be trained to retrieve with, got {problem}: its vectors mean "
            "nothing. Take a trained checkpoint, pooling='last' for a single vector, or allow_untrained=True "
            "to try things out."
        )


def _check_fits_tables(config: CheckpointConfig, budget: Budget, dim: int | None) -> None:
    """Refuse a budget larger than the tables of `config`, or another width than its projection's."""
    for side in ("query", "document"):
        most, rows = getattr(config.budget, side), getattr(budget, side)
        if rows > most:
            raise ValueError(
                f"budget.{side} must be at most {most} (the meta tokens this checkpoint was trained "
                f"with), got {rows}."
            )
    if dim != config.dim:
        projection = "no projection" if config.dim is None else f"a projection to {config.dim}"
        raise ValueError(f"dim must be left out for a checkpoint with {projection}, got {dim}.")


def _assemble(
    backbone: Backbone, config: CheckpointConfig, file_config: CheckpointConfig | None, folder: Path
) -> RetrievalModel:
    """Build the model; its heads are the folder's tables, or seeded noise for a plain backbone."""
    if config.pooling == "last":
        return RetrievalModel(backbone, config.compression, None, config.dim)
    has_table = file_config is not None and file_config.pooling == "meta"
    rows = file_config.budget if has_table and file_config is not None else config.budget
    with torch.random.fork_rng(
        devices=[]
    ):  # the same noise every time; the caller's generator stays as it is
        torch.manual_seed(0)
        meta = MetaTokens(rows, backbone.hidden_size, query_first=config.query_first)
        model = RetrievalModel(backbone, config.compression, meta, config.dim)
    if has_table:
        tables = tables_in(folder, backbone)
        model.load_state_dict(_check_tables(tables, folder / TABLES_FILE, tables_of(model)), strict=False)
    return model


def tables_in(folder: Path, backbone: Backbone | type[Backbone]) -> dict[str, Tensor]:
    """Read the tables of a folder, wherever they are, as they are written.

    Raises:
        FileNotFoundError: it has none.
        ValueError: they cannot be read.
    """
    path = folder / TABLES_FILE
    return ({} if path.is_file() else backbone.own_tables(folder)) or _read_tables(path)


def _read_tables(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f"the checkpoint must have {TABLES_FILE} next to {CONFIG_FILE}, got {path.parent} without. "
            "Copy all files of the checkpoint."
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} must be safetensors, got: {error}. Copy the file again.") from error


def _check_tables(
    tables: dict[str, Tensor], path: Path, model_tables: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tables in float32 if they have the shapes of the model's and are finite."""
    for name, shape in ((name, tuple(tensor.shape)) for name, tensor in model_tables.items()):
        if name not in tables:
            raise ValueError(f"{path} must hold {name}, got {', '.join(sorted(tables)) or 'nothing'}.")
        if tuple(tables[name].shape) != shape:
            raise ValueError(
                f"{name} of {path} must be {shape} (rows of {CONFIG_FILE}, width of the backbone), got "
                f"{tuple(tables[name].shape)}. Table and backbone are of different models."
            )
        if not torch.isfinite(tables[name]).all():
            raise ValueError(f"{name} of {path} must be finite, got NaN or infinity. Its training diverged.")
    return {name: tables[name].float() for name in model_tables}
