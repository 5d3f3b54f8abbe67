"""Runs of the generative stages: `restore`, `reason` and `rerank`, from a configuration to a stock model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import set_seed

from mmrag.training.checks import check_sides
from mmrag.training.config import SERVED_STAGES, DataConfig, TrainConfig
from mmrag.training.data import Pictures, SubDataset
from mmrag.training.generative.chat import Chat
from mmrag.training.generative.examples import read_response_examples, read_trace_examples
from mmrag.training.generative.model import GenerativeModel, load_generative, write_stock
from mmrag.training.generative.rank_data import read_rank_examples
from mmrag.training.generative.rank_tasks import RerankTasks
from mmrag.training.generative.tasks import ReasonTasks, RestoreTasks, TaskBatch, TaskBuilder, TaskCollator
from mmrag.training.generative.traces import with_traces
from mmrag.training.generative.trainer import GenerativeTrainer
from mmrag.training.stage_run import StageRun, largest_useful_picture, make_mixture, visual_tokens

logger = logging.getLogger(__name__)

STAGES = ("restore", "reason", "rerank")

USAGE = {
    "restore": "It is the base of the stage `contrast`: name this folder as its `model: name`, with the same "
    "`compression`.",
    "reason": "Serve it (`mmrag serve FOLDER`), and write traces with `mmrag.rerank.traces.TraceWriter`.",
    "rerank": "Serve it (`mmrag serve FOLDER`), and rerank with `mmrag.rerank.ThinkReranker`, "
    '`mode="pointwise"` or `mode="listwise"` and `think_tokens=0`.',
}


class GenerativeRun(StageRun):
    """A run of a generative stage.

    Args:
        config: the run.

    Raises:
        ValueError, FileNotFoundError: the data or the model is unusable.
    """

    model: GenerativeModel

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.usage = USAGE[config.stage]
        if config.stage in SERVED_STAGES and config.model.compression != 1:
            logger.warning(
                "servers cannot compress: what the stage %r trains at compression %d is served at 1",
                config.stage, config.model.compression,
            )  # fmt: skip
        self.pictures = Pictures(_page_pixels(config))
        try:
            self._load_data()
            set_seed(config.run.seed)  # adapters are drawn when the model is loaded
            self.model, self.source = load_generative(config.model)
            self.collator = self._make_collator()
        except BaseException:
            self.pictures.close()
            raise
        self.mixture = make_mixture(config, self.parts)

    def _load_data(self) -> None:
        config = self.config
        self.parts = [self._sub_dataset(data) for data in config.data]
        self.validation: Sequence[Any] = ()
        if config.validation is not None:
            data = DataConfig(path=config.validation.path, cap=config.validation.limit)
            self.validation = self._sub_dataset(data).examples
        examples = chain(*(part.examples for part in self.parts), self.validation)
        check_sides((example.name, side) for example in examples for side in example.sides)

    def _sub_dataset(self, data: DataConfig) -> SubDataset:
        config = self.config
        examples: Sequence[Any]
        if config.stage == "restore":
            examples = read_response_examples(data.path, config.restore, cap=data.cap)
        elif config.stage == "reason":
            inputs = read_trace_examples(data.path, cap=data.cap)
            examples = with_traces(inputs, config.reason, self.pictures)
        else:
            examples = read_rank_examples(data.path, config.rerank.listwise, cap=data.cap)
        return SubDataset(data.name or Path(data.path).stem, tuple(examples), data.weight)

    def _make_collator(self) -> TaskCollator:
        config = self.config
        chat = Chat(
            self.model.backbone,
            self.model.reader.compression,
            max_visual_tokens=visual_tokens(config),
            max_tokens=config.model.max_tokens,
        )
        builder: TaskBuilder[Any]
        if config.stage == "restore":
            builder = RestoreTasks(chat, self.pictures, loss_on=config.restore.loss_on)
        elif config.stage == "reason":
            builder = ReasonTasks(chat, self.pictures, config.reason)
        else:
            builder = RerankTasks(chat, self.pictures, config.rerank)
        return TaskCollator(builder, seed=config.run.seed, threads=config.run.workers)

    def make_trainer(self, **options: Any) -> GenerativeTrainer:  # noqa: ANN401  passed on
        """Build a `GenerativeTrainer`."""
        rerank, validation = self.config.rerank, self.config.validation
        weights = {"pointwise": rerank.pointwise_weight, "listwise": rerank.listwise_weight}
        cutoff = {} if validation is None else {"cutoff": validation.cutoff}
        return GenerativeTrainer(weights=weights, **cutoff, **options)

    def write_model(self, folder: Path) -> None:
        """Write a stock directory, for a server or as the base of another stage."""
        write_stock(self.model, self.source, folder)

    def count_tokens(self, batch: TaskBatch) -> int:
        """Return the tokens of all tasks."""
        return sum(len(task.row.ids) for task in batch.tasks)


def _page_pixels(config: TrainConfig) -> int:
    """Return the area at which pages are rendered: as for the server, or as large as the model can use."""
    if config.stage == "reason":
        return config.reason.image_pixels
    if config.stage == "rerank":
        return config.rerank.image_pixels
    return largest_useful_picture(config)
