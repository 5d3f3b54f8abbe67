"""What a run is: a YAML file read into frozen data, every key and value checked before anything is loaded.

Every key has a default but the few without which there is nothing to do. A key that is not known is an
error that offers the nearest known one: a learning rate that is misspelt and silently left at its default
costs a day.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union

STAGES = ("restore", "contrast", "curate", "finetune", "reason", "rerank")

SERVED = ("reason", "rerank")
"""Stages whose result a server runs, which knows no compression."""

DOCUMENTS = ("picture", "text")

CONFIGS = Path(__file__).parent / "configs"
"""Ready files, ``MODEL/RUN.yaml``; they are named without the ending."""

T = TypeVar("T")


def _ranged(default: Any, low: float = -math.inf, high: float = math.inf, what: str = "") -> Any:  # noqa: ANN401
    """A field whose value must lie between two bounds, both included."""
    told = what or f"{low:g} to {high:g}".replace("-inf to inf", "any number").replace(" to inf", " or more")
    return field(default=default, metadata={"low": low, "high": high, "told": told})


def _choice(default: str, *known: str) -> Any:  # noqa: ANN401
    """A field whose value must be one of a few words."""
    return field(default=default, metadata={"known": known})


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters on the language model; tables and projection are always trained whole.

    Defaults are MetaEmbed's (rank 32, alpha 32, dropout 0.1); Magic-MM-Embedding has rank 16, its alpha is
    not public.
    """

    rank: int = _ranged(32, 1)
    alpha: float = _ranged(32.0, 1e-6)
    dropout: float = _ranged(0.1, 0.0, 0.99)
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What is trained.

    Attributes:
        name: folder or hub name of the checkpoint to start from.
        compression: factor per axis; where it is left out, 2, but 1 for `SERVED` stages.
        budget: rows of the query and of the document table.
        dim: width of the projection; None for none.
        tables: how fresh tables start: ``"embeddings"`` (mean of the vocabulary plus a token each) or
            ``"noise"``.
        lora: None trains every weight of the language model.
        train_language: False trains tables and projection alone; `lora` must be None.
        train_vision: train vision encoder and connector, too.
        max_visual_tokens, max_tokens: of an input; see `mmrag.MLLMEmbedder`.
        page_text: whether the words of a document with a picture go along with it.
        dtype: ``"float32"`` or ``"bfloat16"`` of the frozen weights.
        gradient_checkpointing: compute activations again instead of keeping them.
        attention: ``attn_implementation`` of transformers; None leaves the choice to it.
    """

    name: str
    compression: int = _ranged(2, 1, 4)
    budget: tuple[int, int] = (16, 64)
    dim: int | None = None
    tables: str = _choice("embeddings", "embeddings", "noise")
    lora: Lora | None = field(default_factory=Lora)
    train_language: bool = True
    train_vision: bool = False
    max_visual_tokens: int | None = None
    max_tokens: int = _ranged(4096, 16)
    page_text: bool = False
    dtype: str = _choice("float32", "float32", "bfloat16")
    gradient_checkpointing: bool = False
    attention: str | None = None


@dataclass(frozen=True, slots=True)
class DataConfig:
    """One sub-dataset.

    Attributes:
        path: JSONL; see `mmrag.training.mining`.
        name: for people; the file's name where it is empty.
        weight: how often it is drawn from, relative to its size.
        cap: most examples that are used of it.
        documents: ``"picture"``: a document that has a picture, or is a page of a file, is that picture;
            ``"text"``: it is its words, and no picture is opened.
    """

    path: str
    name: str = ""
    weight: float = _ranged(1.0, 0.0)
    cap: int | None = None
    documents: str = _choice("picture", *DOCUMENTS)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The contrastive stages' loss; see `mmrag.training.losses`.

    Attributes:
        temperature: scores are divided by it.
        groups: nested budgets; those larger than `ModelConfig.budget` are refused.
        negatives: a query's own hard negatives, of those its example has.
        margin: false negatives are those above the positive by it; None masks none.
        distil: weight of the distillation from the judge's scores.
        judge_temperature: of the judge's scores.
    """

    temperature: float = _ranged(0.03, 1e-6)
    groups: tuple[tuple[int, int], ...] = ((1, 1), (2, 4), (4, 8), (8, 16), (16, 64))
    negatives: int = _ranged(2, 0)
    margin: float | None = 0.1
    distil: float = _ranged(0.0, 0.0)
    judge_temperature: float = _ranged(0.1, 1e-6)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How it is trained.

    Attributes:
        output: folder of checkpoints, curves and the model card.
        steps: of the optimizer.
        batch: queries of one step of one process.
        micro_batch: inputs whose graph is in memory together.
        homogeneous: queries that follow each other from one sub-dataset; a batch is made of such runs.
        learning_rate, warmup, schedule, weight_decay, max_grad_norm: of AdamW; `warmup` in steps.
        seed: of everything that is drawn.
        save_every, keep: checkpoints every so many steps, and how many of them stay.
        evaluate_every: steps between two looks at the validation pairs; 0 for none.
        log_every: steps between two lines of the curve.
        workers: threads that open and resize pictures.
        bf16: compute in bfloat16 where the device has it.
        deepspeed: DeepSpeed's JSON file, of ZeRO stage 0 to 2.
        fsdp: passed to transformers' `TrainingArguments`; not tried.
    """

    output: str
    steps: int = _ranged(1000, 1)
    batch: int = _ranged(32, 2)
    micro_batch: int = _ranged(8, 1)
    homogeneous: int = _ranged(32, 1)
    learning_rate: float = _ranged(1e-4, 0.0)
    warmup: int = _ranged(100, 0)
    schedule: str = _choice("linear", "linear", "cosine", "constant_with_warmup")
    weight_decay: float = _ranged(0.0, 0.0)
    max_grad_norm: float = _ranged(1.0, 0.0)
    seed: int = _ranged(0, 0)
    save_every: int = _ranged(200, 1)
    keep: int = _ranged(2, 1)
    evaluate_every: int = _ranged(200, 0)
    log_every: int = _ranged(10, 1)
    workers: int = _ranged(0, 0)
    bf16: bool = False
    deepspeed: str | None = None
    fsdp: str | None = None


@dataclass(frozen=True, slots=True)
class ValidationConfig:
    """Pairs that are looked at during training and never trained on.

    Attributes:
        path: JSONL of the same form.
        limit: most queries of it.
        cutoff: of nDCG.
        documents: as of `DataConfig`.
    """

    path: str
    limit: int = _ranged(200, 1)
    cutoff: int = _ranged(5, 1)
    documents: str = _choice("picture", *DOCUMENTS)


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """Who judges, in the stage `curate`.

    Attributes:
        reranker_url, reranker_model: a served judge; None: `mode` must be ``"local"``.
        mode: ``"pointwise"`` or ``"served"`` (see `mmrag.rerank.ThinkReranker`), or ``"local"``.
        think_tokens: most tokens of the judge's thought before each answer.
        images: show the judge the pages' pictures. False is for models that only read.
        index: folder of an index to retrieve from, made with the embedder `ModelConfig.name`; None makes
            one of the documents that the data names.
        retrieve: candidates a query that are judged.
        negatives: judged negatives that an example keeps.
    """

    reranker_url: str | None = None
    reranker_model: str | None = None
    mode: str = _choice("pointwise", "pointwise", "served", "local")
    think_tokens: int = _ranged(0, 0)
    images: bool = True
    index: str | None = None
    retrieve: int = _ranged(20, 2)
    negatives: int = _ranged(12, 1)


@dataclass(frozen=True, slots=True)
class RestoreConfig:
    """The stage `restore`; see `mmrag.training.generative.examples`.

    Attributes:
        loss_on: ``"response"``, or ``"all"``: the prompt's words are learnt, too (pictures never are).
        page_prompt: what is asked of a page whose text layer is the response.
        page_chars: most characters of such a response; more are cut off.
    """

    loss_on: str = _choice("response", "response", "all")
    page_prompt: str = "Write down the text of this page."
    page_chars: int = _ranged(4000, 20)


@dataclass(frozen=True, slots=True)
class ReasonConfig:
    """The stage `reason`: what `mmrag.rerank.traces.TraceWriter` was told, since that is who will ask.

    Attributes:
        traces: folder in which a `TraceWriter` kept the teacher's traces; for inputs that bring none.
        teacher: the teacher's name at its server; part of what its traces are found by.
        max_tokens, temperature, images, image_pixels, text_chars, prompts: as of the `TraceWriter`.
    """

    traces: str | None = None
    teacher: str | None = None
    max_tokens: int = _ranged(512, 1)
    temperature: float = _ranged(0.0, 0.0)
    images: bool = True
    image_pixels: int = _ranged(1_000_000, 1024)
    text_chars: int | None = 8000
    prompts: str | None = None


@dataclass(frozen=True, slots=True)
class RerankConfig:
    """The stage `rerank`: two losses, on the words that `mmrag.rerank.ThinkReranker` asks with.

    Attributes:
        negatives: pages that do not help, judged alone beside the one that does.
        listwise: least and most of them in a list with it; an example with fewer is judged alone only.
        pointwise_weight, listwise_weight: of the two losses; 1 and 1 are the paper's.
        instruction, images, text, image_pixels, prompts: as of the `ThinkReranker`.
    """

    negatives: int = _ranged(1, 1)
    listwise: tuple[int, int] = (2, 5)
    pointwise_weight: float = _ranged(1.0, 0.0)
    listwise_weight: float = _ranged(1.0, 0.0)
    instruction: str | None = None
    images: bool = True
    text: bool = True
    image_pixels: int = _ranged(1_000_000, 1024)
    prompts: str | None = None


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A whole run.

    Attributes:
        stage: which of `STAGES` this file is for.
        model, data, run: see there.
        loss: of the contrastive stages.
        validation: None looks at nothing.
        judge: of the stage `curate`.
        restore, reason, rerank: of the stages of these names.
    """

    stage: str
    model: ModelConfig
    data: tuple[DataConfig, ...]
    run: RunConfig
    loss: LossConfig = field(default_factory=LossConfig)
    validation: ValidationConfig | None = None
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    restore: RestoreConfig = field(default_factory=RestoreConfig)
    reason: ReasonConfig = field(default_factory=ReasonConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)


def load_config(path: str | Path, stage: str | None = None) -> TrainConfig:
    """A YAML file as a run; relative paths in it start from its own folder.

    Args:
        path: the file, or the name of one of `ready`, whose paths start from the current folder.
        stage: which stage was asked for; must be the file's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML, or a key or a value is wrong; the message names it.
        MissingExtraError: PyYAML is not installed.
    """
    from mmrag.errors import MissingExtraError

    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error
    file, folder = _found(path)
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} must be YAML, got something else: {error}.") from error
    made = read(TrainConfig, _with_stage_defaults(value), str(file))
    if made.stage not in STAGES:
        raise ValueError(f"{file}: stage must be one of {', '.join(STAGES)}, got {made.stage!r}.")
    if stage is not None and made.stage != stage:
        raise ValueError(
            f"{file} is for the stage {made.stage!r}, got a call of {stage!r}. Pass its own file."
        )
    _check_whole(made, str(file))
    return _from_folder(made, folder)


def ready() -> list[str]:
    """Names of the files that come with the package, like ``"qwen3-vl-2b/contrast"``."""
    return sorted(file.relative_to(CONFIGS).with_suffix("").as_posix() for file in CONFIGS.glob("*/*.yaml"))


def _found(path: str | Path) -> tuple[Path, Path]:
    """The file that is meant, and the folder that its relative paths start from."""
    file, name = Path(path), Path(path).as_posix()
    if file.is_file():
        return file, file.resolve().parent
    if name in ready():
        return CONFIGS / f"{name}.yaml", Path.cwd()
    near = difflib.get_close_matches(name, ready(), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}, which comes with the package?" if near else ""
    raise FileNotFoundError(f"a configuration must be a YAML file that is there, got {name!r}.{hint}")


def _with_stage_defaults(value: object) -> object:
    """A file's content, with the defaults that depend on the stage."""
    if not isinstance(value, Mapping) or not isinstance(value.get("model"), Mapping):
        return value
    if value.get("stage") in SERVED:
        return {**value, "model": {"compression": 1, **value["model"]}}
    return value


def read(kind: type[T], value: object, where: str) -> T:
    """A mapping as a dataclass; nested ones, too.

    Raises:
        ValueError: a key is unknown or missing, or a value is of the wrong type or out of its range.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping of keys to values, got {type(value).__name__}.")
    known = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
            raise ValueError(f"{where}: unknown key {key!r}.{hint}")
    hints = typing.get_type_hints(kind)
    made: dict[str, Any] = {}
    for name, one in known.items():
        if name in value:
            made[name] = _cast(hints[name], value[name], f"{where}: {name}", one.metadata)
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}: {name!r} is missing.")
    return kind(**made)


def _cast(hint: Any, value: object, where: str, rule: Mapping[str, Any]) -> Any:  # noqa: ANN401  by its hint
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
        return _cast(hint, value, where, rule)
    if dataclasses.is_dataclass(hint):
        return read(typing.cast("type[Any]", hint), value, where)
    if origin is tuple:
        return _tuple(typing.get_args(hint), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        hint_of = (
            " (YAML reads 1e-4 as text; write 1.0e-4)" if hint is float and isinstance(value, str) else ""
        )
        raise ValueError(f"{where} must be {_named(hint)}, got {value!r}{hint_of}.")
    if "low" in rule and not rule["low"] <= typing.cast("float", value) <= rule["high"]:
        raise ValueError(f"{where} must be {rule['told']}, got {value!r}.")
    if "known" in rule and value not in rule["known"]:
        raise ValueError(f"{where} must be one of {', '.join(rule['known'])}, got {value!r}.")
    return value


def _tuple(kinds: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} must be a list, got {value!r}.")
    if kinds[-1] is Ellipsis:
        return tuple(_cast(kinds[0], one, f"{where}[{place}]", {}) for place, one in enumerate(value))
    if len(value) != len(kinds):
        raise ValueError(f"{where} must have {len(kinds)} values, got {value!r}.")
    return tuple(
        _cast(kind, one, f"{where}[{place}]", {})
        for place, (kind, one) in enumerate(zip(kinds, value, strict=True))
    )


def _named(hint: type) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]


def _check_whole(config: TrainConfig, where: str) -> None:
    """What no single value shows."""
    if not config.data:
        raise ValueError(f"{where}: data must name at least one sub-dataset, got none.")
    if not any(one.weight > 0 for one in config.data):
        raise ValueError(f"{where}: at least one sub-dataset must have a weight above 0.")
    most = config.model.budget
    if min(most) < 1:
        raise ValueError(f"{where}: model: budget must be at least 1 on both sides, got {list(most)}.")
    for group in config.loss.groups:
        if not (1 <= group[0] <= most[0] and 1 <= group[1] <= most[1]):
            raise ValueError(
                f"{where}: loss: groups must be within model: budget {list(most)}, got {list(group)}."
            )
    if config.model.lora is not None and not config.model.train_language:
        raise ValueError(
            f"{where}: model: lora must be null where train_language is false, got adapters to train."
        )
    low, high = config.rerank.listwise
    if not 1 <= low <= high <= 8:
        raise ValueError(f"{where}: rerank: listwise must be two numbers from 1 to 8, got [{low}, {high}].")
    if not config.rerank.images and not config.rerank.text:
        raise ValueError(f"{where}: rerank: images and text must not both be false.")
    if not config.loss.groups:
        raise ValueError(f"{where}: loss: groups must name at least one budget, got none.")


def _from_folder(config: TrainConfig, folder: Path) -> TrainConfig:
    """Paths of files as absolute ones; a model's name only where it is a folder there."""

    def absolute(path: str) -> str:
        return str((folder / Path(path).expanduser()).resolve())

    name = config.model.name
    local = folder / Path(name).expanduser()
    model = dataclasses.replace(config.model, name=str(local.resolve()) if local.is_dir() else name)
    data = tuple(dataclasses.replace(one, path=absolute(one.path)) for one in config.data)
    given = config.run.deepspeed
    run = dataclasses.replace(
        config.run, output=absolute(config.run.output), deepspeed=given and absolute(given)
    )
    validation = config.validation
    if validation is not None:
        validation = dataclasses.replace(validation, path=absolute(validation.path))
    judge = dataclasses.replace(config.judge, index=config.judge.index and absolute(config.judge.index))
    reason, rerank = config.reason, config.rerank
    reason = dataclasses.replace(
        reason,
        traces=reason.traces and absolute(reason.traces),
        prompts=reason.prompts and absolute(reason.prompts),
    )
    rerank = dataclasses.replace(rerank, prompts=rerank.prompts and absolute(rerank.prompts))
    return dataclasses.replace(
        config,
        model=model,
        data=data,
        run=run,
        validation=validation,
        judge=judge,
        reason=reason,
        rerank=rerank,
    )
