"""Tasks of the stage `rerank`: requests of the reranker's modes, without a thought."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mmrag.models.batch import TokenRow
from mmrag.rerank.listwise import ListwiseMode
from mmrag.rerank.pointwise import PointwiseMode
from mmrag.rerank.protocol import Settings
from mmrag.serving.prompts import Prompts
from mmrag.training.config import RerankConfig
from mmrag.training.data import Example, Pictures, Side
from mmrag.training.generative.chat import Chat, TeacherForcing
from mmrag.training.generative.model import Task
from mmrag.training.generative.traces import page_of
from mmrag.types import Candidate, Query, Record

NO, YES = 0, 1
"""Labels of pointwise tasks."""


class RerankTasks:
    """Tasks of the stage `rerank`, on the requests of the modes ``pointwise`` and ``listwise``.

    The modes of `mmrag.rerank` write the requests, with `TeacherForcing` in place of a server; so a model is
    trained on the prompts, picture sizes and answer tokens of `mmrag.rerank.ThinkReranker`.

    Args:
        chat: tokenises.
        pictures: opens pictures.
        config: of the stage.

    Raises:
        ValueError: the tokens of the answers cannot be told apart.
    """

    def __init__(self, chat: Chat, pictures: Pictures, config: RerankConfig) -> None:
        self._chat, self._pictures, self._config = chat, pictures, config
        settings = Settings(
            instruction=config.instruction,
            images=config.images,
            text=config.text,
            image_pixels=config.image_pixels,
            text_chars=config.text_chars,
            prompts=Prompts(config.prompts),
        )
        self._pointwise, self._listwise = PointwiseMode(settings), ListwiseMode(settings)
        teacher_forcing = TeacherForcing(chat)
        for mode in (self._pointwise, self._listwise):
            teacher_forcing.run_prepare(mode.prepare())
        self._opening, self._labels = list_labels(chat, 1 + config.listwise[1])

    def training_tasks(self, example: Example, rng: random.Random) -> list[Task]:
        """Build pointwise tasks of the positive and some negatives, and a listwise one of a list with it."""
        config, teacher_forcing = self._config, TeacherForcing(self._chat)
        negatives = example.negatives
        alone = rng.sample(negatives, min(config.negatives, len(negatives)))
        low, high = (min(number, len(negatives)) for number in config.listwise)
        count, slot = rng.randint(low, high), rng.random()
        in_list = rng.sample(negatives, count)
        tasks = []
        if config.pointwise_weight > 0:
            tasks += [
                self._pointwise_task(example, side, teacher_forcing) for side in (example.positive, *alone)
            ]
        if config.listwise_weight > 0 and count >= config.listwise[0]:
            position = int(slot * (count + 1))
            sides = [*in_list[:position], example.positive, *in_list[position:]]
            tasks.append(self._listwise_task(example, sides, position, teacher_forcing))
        return tasks

    def validation_tasks(self, example: Example) -> list[Task]:
        """Build pointwise tasks of the positive and of all negatives."""
        teacher_forcing = TeacherForcing(self._chat)
        sides = (example.positive, *example.negatives)
        return [self._pointwise_task(example, side, teacher_forcing) for side in sides]

    def _pointwise_task(self, example: Example, side: Side, teacher_forcing: TeacherForcing) -> Task:
        (requests,) = self._pointwise.requests(self._query(example), [self._candidate(side)])
        request = teacher_forcing.first_request(requests)
        prompt = teacher_forcing.encode(request)
        yes, no = (request.body or {})["logprob_token_ids"]
        label = YES if side.key in example.relevant else NO
        row = TokenRow(prompt.ids, prompt.images)
        return Task(example.name, row, "pointwise", (len(prompt.ids) - 1,), (label,), (no, yes))

    def _listwise_task(
        self, example: Example, sides: Sequence[Side], position: int, teacher_forcing: TeacherForcing
    ) -> Task:
        (requests,) = self._listwise.requests(self._query(example), [self._candidate(side) for side in sides])
        prompt = teacher_forcing.encode(teacher_forcing.first_request(requests))
        ids = (*prompt.ids, *self._opening)
        row, options = TokenRow(ids, prompt.images), self._labels[: len(sides)]
        return Task(example.name, row, "listwise", (len(ids) - 1,), (position,), options)

    def _query(self, example: Example) -> Query:
        picture = self._pictures.open(example.query) if self._config.images else None
        return Query(example.query.text or None, picture)

    def _candidate(self, side: Side) -> Candidate:
        if not side.has_picture:
            return Candidate(Record(side.key, None, side.text), 0.0, 1)
        picture = self._pictures.open(side) if self._config.images else None
        return Candidate(Record(side.key, None, side.text, page=page_of(side, picture)), 0.0, 1)


def list_labels(chat: Chat, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the tokens with which an order begins (``[``), and the tokens that then tell 1 to `count` apart.

    Raises:
        ValueError: the tokenizer has no single token for each number.
    """
    rows = [chat.tokens(f"[{number}] >") for number in range(1, count + 1)]
    common = 0
    while len({row[common] for row in rows}) == 1:
        common += 1
    labels = tuple(row[common] for row in rows)
    if len(set(labels)) < count:
        raise ValueError(
            f"the numbers [1] to [{count}] must begin with different tokens, this model's do not. Lower "
            "rerank: listwise."
        )
    return tuple(rows[0][:common]), labels
