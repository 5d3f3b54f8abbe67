"""Configuration of a training run: a YAML file validated by pydantic before anything is loaded.

Every key has a default except the few without which a run has nothing to do. An unknown key is an error
that names the nearest known one: a misspelt learning rate that silently stays at its default costs a day.

Values are validated as JSON in pydantic's strict mode: ``true`` is no number, ``2.5`` no whole number, and a
whole number passes for a number.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from mmrag.errors import MissingExtraError
from mmrag.training.config_errors import describe

Stage = Literal["restore", "contrast", "curate", "finetune", "reason", "rerank"]
STAGES: tuple[str, ...] = get_args(Stage)

SERVED_STAGES = ("reason", "rerank")
"""Stages whose model is run by a server, which cannot compress visual tokens."""

CONFIGS = Path(__file__).parent / "configs"
"""Ready configurations, ``MODEL/RUN.yaml``; named without the ending."""

Documents = Literal["picture", "text"]
Group = tuple[PositiveInt, PositiveInt]
ListLength = Annotated[int, Field(ge=1, le=8)]
TextLength = Annotated[int, Field(ge=100)]


def _absolute(path: str, info: ValidationInfo) -> str:
    """Return `path` as an absolute one, starting from the folder in the validation's context."""
    return path if info.context is None else str((info.context / Path(path).expanduser()).resolve())


def _absolute_folder(name: str, info: ValidationInfo) -> str:
    """Return `name` as an absolute path if such a folder exists, else unchanged: a name on the hub."""
    path = _absolute(name, info)
    return path if Path(path).is_dir() else name


FilePath = Annotated[str, AfterValidator(_absolute)]
ModelName = Annotated[str, AfterValidator(_absolute_folder)]


class Section(BaseModel):
    """A mapping of the YAML file: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lora(Section):
    """Low-rank adapters on the language model; tables and projection are always trained whole.

    Defaults are MetaEmbed's (rank 32, alpha 32, dropout 0.1); Magic-MM-Embedding has rank 16, its alpha is
    not public.
    """

    rank: PositiveInt = 32
    alpha: PositiveFloat = 32.0
    dropout: Annotated[float, Field(ge=0.0, le=0.99)] = 0.1
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class ModelConfig(Section):
    """The model to train.

    Attributes:
        name: folder or hub name of the checkpoint to start from.
        compression: factor per axis. Default: 2, but 1 in `SERVED_STAGES` stages.
        budget: rows of the query and of the document table.
        dim: width of the projection; None for no projection.
        tables: start of fresh tables: ``"embeddings"`` (mean of the vocabulary plus one token's embedding
            per row) or ``"noise"``.
        lora: None trains every weight of the language model.
        train_language: False trains tables and projection alone; `lora` must be None.
        train_vision: also train vision encoder and connector.
        max_visual_tokens, max_tokens: limits of one input; see `mmrag.MLLMEmbedder`.
        page_text: give the model a page's words along with its picture.
        dtype: of the frozen weights.
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        attention: ``attn_implementation`` of transformers; None for its default.
    """

    name: ModelName
    compression: Annotated[int, Field(ge=1, le=4)] = 2
    budget: tuple[PositiveInt, PositiveInt] = (16, 64)
    dim: PositiveInt | None = None
    tables: Literal["embeddings", "noise"] = "embeddings"
    lora: Lora | None = Lora()
    train_language: bool = True
    train_vision: bool = False
    max_visual_tokens: PositiveInt | None = None
    max_tokens: Annotated[int, Field(ge=16)] = 4096
    page_text: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    attention: str | None = None

    @model_validator(mode="after")
    def _check_lora(self) -> ModelConfig:
        if self.lora is not None and not self.train_language:
            raise ValueError("lora must be null where train_language is false, got adapters to train.")
        return self


class DataConfig(Section):
    """One sub-dataset.

    Attributes:
        path: JSONL; see `mmrag.training.mining`.
        name: shown in reports; default: the file's name.
        weight: how often it is drawn from, relative to its size.
        cap: largest number of examples to use.
        documents: ``"picture"``: embed pictures and pages of files as images; ``"text"``: embed the words
            of every document and open no picture.
    """

    path: FilePath
    name: str = ""
    weight: NonNegativeFloat = 1.0
    cap: PositiveInt | None = None
    documents: Documents = "picture"


class LossConfig(Section):
    """The contrastive stages' loss; see `mmrag.training.losses`.

    Attributes:
        temperature: divides the scores.
        groups: nested budgets ``(query rows, document rows)``, within `ModelConfig.budget`.
        negatives: hard negatives per query, at most as many as its example has.
        margin: mask documents that score this much above the positive as false negatives; None masks no
            document.
        distil: weight of the distillation from the judge's scores.
        distil_by: ``"scores"``: the target is the softmax of the judge's scores; ``"ranks"``: it is made of
            their order alone (Rank-KL).
        judge_temperature: divides the judge's scores; of no effect by ranks.
        cutoffs: ladder of Rank-KL, ascending; of no effect by scores.
    """

    temperature: PositiveFloat = 0.03
    groups: tuple[Group, ...] = ((1, 1), (2, 4), (4, 8), (8, 16), (16, 64))
    negatives: NonNegativeInt = 2
    margin: float | None = 0.1
    distil: NonNegativeFloat = 0.0
    distil_by: Literal["scores", "ranks"] = "scores"
    judge_temperature: PositiveFloat = 0.1
    cutoffs: tuple[PositiveInt, ...] = (1, 2, 4, 8)

    @model_validator(mode="after")
    def _check_cutoffs(self) -> LossConfig:
        if not self.cutoffs or list(self.cutoffs) != sorted(set(self.cutoffs)):
            raise ValueError(f"cutoffs must ascend, at least one, got {list(self.cutoffs)}.")
        if self.distil > 0 and self.distil_by == "ranks" and self.cutoffs[0] > self.negatives:
            raise ValueError(
                f"cutoffs must begin at negatives ({self.negatives}) or below, got {list(self.cutoffs)}: "
                "nothing stands behind such a cutoff in a list of the positive and its negatives."
            )
        return self


class RunConfig(Section):
    """The optimization.

    Attributes:
        output: folder for checkpoints, curves and the model card.
        steps: optimizer steps.
        batch: queries per step and process.
        micro_batch: inputs whose graph is in memory at once.
        homogeneous: length of the runs of queries from one sub-dataset that make up a batch.
        learning_rate, warmup, schedule, weight_decay, max_grad_norm: of AdamW; `warmup` in steps.
        seed: of all random draws.
        save_every, keep: steps between two checkpoints, and how many of them to keep.
        evaluate_every: steps between two evaluations of the validation pairs; 0 for no evaluation.
        log_every: steps between two entries of the curve.
        workers: threads that open and resize pictures.
        bf16: compute in bfloat16 where the device has it.
        deepspeed: DeepSpeed's JSON file, of ZeRO stage 0 to 2.
        fsdp: passed to transformers' `TrainingArguments`; not tried.
    """

    output: FilePath
    steps: PositiveInt = 1000
    batch: Annotated[int, Field(ge=2)] = 32
    micro_batch: PositiveInt = 8
    homogeneous: PositiveInt = 32
    learning_rate: NonNegativeFloat = 1e-4
    warmup: NonNegativeInt = 100
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: NonNegativeFloat = 1.0
    seed: NonNegativeInt = 0
    save_every: PositiveInt = 200
    keep: PositiveInt = 2
    evaluate_every: NonNegativeInt = 200
    log_every: PositiveInt = 10
    workers: NonNegativeInt = 0
    bf16: bool = False
    deepspeed: FilePath | None = None
    fsdp: str | None = None


class ValidationConfig(Section):
    """Pairs for evaluation during training; the model is never trained on them.

    Attributes:
        path: JSONL of the same form as `DataConfig.path`.
        limit: largest number of queries.
        cutoff: of nDCG.
        documents: see `DataConfig`.
    """

    path: FilePath
    limit: PositiveInt = 200
    cutoff: PositiveInt = 5
    documents: Documents = "picture"


class JudgeConfig(Section):
    """The judge of the stage `curate`.

    Attributes:
        reranker_url, reranker_model: server and name of the judge; without a server `mode` must be
            ``"local"``.
        mode: ``"pointwise"`` or ``"served"`` (see `mmrag.rerank.ThinkReranker`), or ``"local"``.
        think_tokens: largest number of tokens of the judge's thought per answer.
        images: show the judge the pages' pictures. False for models that only read text.
        text_chars: most characters of a page's text where its picture is not shown, as in `ThinkReranker`.
        index: folder of an index to retrieve from, built with the embedder `ModelConfig.name`; None builds
            one from the documents that the data names.
        retrieve: candidates to judge per query.
        negatives: judged negatives to keep per example.
    """

    reranker_url: str | None = None
    reranker_model: str | None = None
    mode: Literal["pointwise", "served", "local"] = "pointwise"
    think_tokens: NonNegativeInt = 0
    images: bool = True
    text_chars: TextLength | None = None
    index: FilePath | None = None
    retrieve: Annotated[int, Field(ge=2)] = 20
    negatives: PositiveInt = 12


class RestoreConfig(Section):
    """The stage `restore`; see `mmrag.training.generative.examples`.

    Attributes:
        loss_on: ``"response"``, or ``"all"``: also the prompt's words (never its pictures).
        page_prompt: prompt for a page whose text layer is the response.
        page_chars: characters at which such a response is cut off.
    """

    loss_on: Literal["response", "all"] = "response"
    page_prompt: str = "Write down the text of this page."
    page_chars: Annotated[int, Field(ge=20)] = 4000


class ReasonConfig(Section):
    """The stage `reason`: settings of the `mmrag.rerank.traces.TraceWriter` that will use the model.

    Attributes:
        traces: cache folder of a `TraceWriter`, for inputs without a trace of their own.
        teacher: the teacher's name at its server; part of the cache's keys.
        max_tokens, temperature, images, image_pixels, text_chars, prompts: see `TraceWriter`.
    """

    traces: FilePath | None = None
    teacher: str | None = None
    max_tokens: PositiveInt = 512
    temperature: NonNegativeFloat = 0.0
    images: bool = True
    image_pixels: Annotated[int, Field(ge=1024)] = 1_000_000
    text_chars: PositiveInt | None = 8000
    prompts: FilePath | None = None


class RerankConfig(Section):
    """The stage `rerank`: two losses, on the prompts of `mmrag.rerank.ThinkReranker`.

    Attributes:
        negatives: pointwise tasks with a negative, per positive.
        listwise: least and most negatives in a list with the positive, 1 to 8. Examples with fewer get
            pointwise tasks only.
        pointwise_weight, listwise_weight: of the two losses; the paper has 1 and 1.
        instruction, images, text, image_pixels, text_chars, prompts: see `ThinkReranker`.
    """

    negatives: PositiveInt = 1
    listwise: tuple[ListLength, ListLength] = (2, 5)
    pointwise_weight: NonNegativeFloat = 1.0
    listwise_weight: NonNegativeFloat = 1.0
    instruction: str | None = None
    images: bool = True
    text: bool = True
    image_pixels: Annotated[int, Field(ge=1024)] = 1_000_000
    text_chars: TextLength | None = None
    prompts: FilePath | None = None

    @model_validator(mode="after")
    def _check_lists_and_modalities(self) -> RerankConfig:
        if self.listwise[0] > self.listwise[1]:
            raise ValueError(f"listwise must be the least and the most, got {list(self.listwise)}.")
        if not self.images and not self.text:
            raise ValueError("images and text must not both be false.")
        return self


class TrainConfig(Section):
    """A training run: one stage on one model.

    Attributes:
        stage: one of `STAGES`.
        model, data, run: the model, its sub-datasets, the optimization.
        loss: of the contrastive stages.
        validation: None for no evaluation during training.
        judge: of the stage `curate`.
        restore, reason, rerank: of the stages of these names.
    """

    stage: Stage
    model: ModelConfig
    data: tuple[DataConfig, ...]
    run: RunConfig
    loss: LossConfig = LossConfig()
    validation: ValidationConfig | None = None
    judge: JudgeConfig = JudgeConfig()
    restore: RestoreConfig = RestoreConfig()
    reason: ReasonConfig = ReasonConfig()
    rerank: RerankConfig = RerankConfig()

    @model_validator(mode="after")
    def _check_sections_together(self) -> TrainConfig:
        if not any(data.weight > 0 for data in self.data):
            raise ValueError("data: at least one sub-dataset must have a weight above 0.")
        if not self.loss.groups:
            raise ValueError("loss: groups must have at least one budget, got [].")
        queries, documents = self.model.budget
        for group in self.loss.groups:
            if group[0] > queries or group[1] > documents:
                raise ValueError(
                    f"loss: groups must be within model: budget [{queries}, {documents}], got {list(group)}."
                )
        return self


def load_config(path: str | Path, stage: str | None = None) -> TrainConfig:
    """Load the YAML file of a run; relative paths in it start from its own folder.

    Args:
        path: the file, or one of the names of `ready`, whose paths start from the current folder.
        stage: stage that the file must be for; None accepts any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML, or keys or values are wrong; the message names each of them.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error
    file, folder = _locate(path)
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} must be YAML, got something else: {error}.") from error
    text = json.dumps(_with_stage_defaults(value), default=str)  # lists for tuples are fine in JSON alone
    try:
        config = TrainConfig.model_validate_json(text, strict=True, context=folder)
    except ValidationError as error:
        raise ValueError(describe(error, TrainConfig, str(file))) from None
    if stage is not None and config.stage != stage:
        raise ValueError(
            f"{file} is for the stage {config.stage!r}, got a call of {stage!r}. Pass a file of that stage."
        )
    return config


def _with_stage_defaults(value: Any) -> Any:  # noqa: ANN401  the file's content, whatever it is
    """Add the defaults that depend on the stage: `SERVED_STAGES` stages compress nothing."""
    if not isinstance(value, dict) or value.get("stage") not in SERVED_STAGES:
        return value
    model = value.get("model")
    return {**value, "model": {"compression": 1, **model}} if isinstance(model, dict) else value


def ready() -> list[str]:
    """List the configurations that come with the package, for example ``"qwen3-vl-2b/contrast"``."""
    return sorted(file.relative_to(CONFIGS).with_suffix("").as_posix() for file in CONFIGS.glob("*/*.yaml"))


def _locate(path: str | Path) -> tuple[Path, Path]:
    """Return the file that `path` names, and the folder that relative paths in it start from."""
    file, name = Path(path), Path(path).as_posix()
    if file.is_file():
        return file, file.resolve().parent
    if name in ready():
        return CONFIGS / f"{name}.yaml", Path.cwd()
    near = difflib.get_close_matches(name, ready(), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}, which comes with the package?" if near else ""
    raise FileNotFoundError(f"a configuration must be an existing YAML file, got {name!r}.{hint}")
