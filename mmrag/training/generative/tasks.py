"""Examples of the generative stages to tasks: pictures opened, tokens laid out, negatives drawn.

All draws come from the seed and the number of the draw, so a resumed run repeats them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mmrag.embedders.base import Content
from mmrag.errors import MMRagError
from mmrag.models.batch import TokenRow
from mmrag.serving.requests import Requests
from mmrag.training.config import ReasonConfig
from mmrag.training.data import Pictures
from mmrag.training.generative.chat import Chat, EncodedPrompt, TeacherForcing
from mmrag.training.generative.examples import ResponseExample, TraceExample
from mmrag.training.generative.model import Task
from mmrag.training.generative.traces import trace_writer
from mmrag.training.stage import Draw
from mmrag.types import Query

E = TypeVar("E", contravariant=True)


class TaskBuilder(Protocol[E]):
    """Builds the tasks of a stage from one example."""

    def training_tasks(self, example: E, rng: random.Random) -> list[Task]:
        """Build tasks to learn from; `rng` draws negatives and positions."""
        ...

    def validation_tasks(self, example: E) -> list[Task]:
        """Build tasks to evaluate, the same each time."""
        ...


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """A batch of one process.

    Attributes:
        tasks: of all its examples.
    """

    tasks: tuple[Task, ...]


class TaskCollator:
    """Makes a `TaskBatch` of draws.

    Args:
        builder: of the stage.
        seed: of what is drawn.
        threads: number of examples prepared at the same time.
    """

    def __init__(self, builder: TaskBuilder[Any], *, seed: int, threads: int = 1) -> None:
        self.builder = builder
        self._seed = seed
        self._pool = ThreadPoolExecutor(max(threads, 1), thread_name_prefix="mmrag-examples")

    def __call__(self, draws: Sequence[Draw]) -> dict[str, TaskBatch]:
        """Return ``{"batch": TaskBatch}``.

        Raises:
            ValueError: an example cannot be used; the message names it.
        """
        by_draw = self._pool.map(self._tasks, draws)
        return {"batch": TaskBatch(tuple(task for tasks in by_draw for task in tasks))}

    def _tasks(self, draw: Draw) -> list[Task]:
        example, number = draw
        rng = random.Random(f"{self._seed}-{number}")
        return build_tasks(example, lambda: self.builder.training_tasks(example, rng))

    def validation_tasks(self, example: Any) -> list[Task]:  # noqa: ANN401  of the stage
        """Build the tasks to evaluate of an example.

        Raises:
            ValueError: the example cannot be used; the message names it.
        """
        return build_tasks(example, lambda: self.builder.validation_tasks(example))


def build_tasks(example: Any, build: Callable[[], list[Task]]) -> list[Task]:  # noqa: ANN401  of any stage
    """Call `build`, and name the example in its errors.

    Raises:
        ValueError: the example cannot be used.
    """
    try:
        return build()
    except (MMRagError, ValueError, OSError) as error:
        raise ValueError(f"{example.name} cannot be used: {error}") from error


def response_task(
    name: str, chat: Chat, prompt: EncodedPrompt, response: str, *, loss_on_prompt: bool = False
) -> Task:
    """Build the next-token task of a response after its prompt; a response too long is cut at its end.

    Args:
        name: for messages.
        chat: tokenises.
        prompt: what the model reads first.
        response: text to learn, with the end of the turn after it if there is room.
        loss_on_prompt: also learn the prompt's words; never the placeholders of its pictures.

    Raises:
        ValueError: the prompt leaves no room for a response.
    """
    room = chat.max_tokens - len(prompt.ids)
    if room < 1:
        raise ValueError(
            f"the prompt must leave room for a response in max_tokens={chat.max_tokens}, got "
            f"{len(prompt.ids)} tokens of it. Raise max_tokens or lower max_visual_tokens."
        )
    ids = (*prompt.ids, *[*chat.words(response), chat.end][:room])
    image_token = chat.backbone.image_token_id
    first = 0 if loss_on_prompt else len(prompt.ids) - 1
    positions = tuple(at for at in range(first, len(ids) - 1) if ids[at + 1] != image_token)
    labels = tuple(ids[at + 1] for at in positions)
    return Task(name, TokenRow(ids, prompt.images), "words", positions, labels)


class RestoreTasks:
    """Tasks of the stage `restore`.

    Args:
        chat: tokenises.
        pictures: opens pictures.
        loss_on: see `mmrag.training.config.RestoreConfig`.
    """

    def __init__(self, chat: Chat, pictures: Pictures, *, loss_on: str) -> None:
        self._chat, self._pictures = chat, pictures
        self._loss_on_prompt = loss_on == "all"

    def training_tasks(self, example: ResponseExample, rng: random.Random) -> list[Task]:
        """Build the task of the response; nothing is drawn."""
        del rng
        return self.validation_tasks(example)

    def validation_tasks(self, example: ResponseExample) -> list[Task]:
        """Build the task of the response."""
        picture = None if example.content is None else self._pictures.open(example.content)
        messages: list[dict[str, Any]] = []
        for role, text in example.turns:
            content: Any = self._chat.plain(text)
            if picture is not None and role == "user":
                content = [{"type": "image", "image": picture}, {"type": "text", "text": content}]
                picture = None
            messages.append({"role": role, "content": content})
        prompt = self._chat.prompt(messages)
        return [
            response_task(
                example.name, self._chat, prompt, example.response, loss_on_prompt=self._loss_on_prompt
            )
        ]


class ReasonTasks:
    """Tasks of the stage `reason`: the prompt of a `TraceWriter`, and the teacher's trace.

    Args:
        chat: tokenises.
        pictures: opens pictures.
        config: settings of the `TraceWriter`.
    """

    def __init__(self, chat: Chat, pictures: Pictures, config: ReasonConfig) -> None:
        self._chat, self._pictures, self._images = chat, pictures, config.images
        self._writer = trace_writer(config, None)

    def training_tasks(self, example: TraceExample, rng: random.Random) -> list[Task]:
        """Build the task of the trace; nothing is drawn."""
        del rng
        return self.validation_tasks(example)

    def validation_tasks(self, example: TraceExample) -> list[Task]:
        """Build the task of the trace.

        Raises:
            ValueError: the example has no trace.
        """
        if example.trace is None:
            raise ValueError("an input must have a trace, got none. Look it up first.")
        teacher_forcing = TeacherForcing(self._chat)
        prompt = teacher_forcing.encode(teacher_forcing.first_request(self._requests(example)))
        response = example.trace.text
        if self._chat.opens_thought(prompt.ids):  # the template has opened it already
            response = response.removeprefix("<think>\n")
        return [response_task(example.name, self._chat, prompt, response)]

    def _requests(self, example: TraceExample) -> Requests[Any]:
        """Return the requests that the writer of traces makes for the content of an example."""
        picture = self._pictures.open(example.content) if self._images else None
        text = example.content.text
        if example.side == "query":
            query = Query(text or None, picture, instruction=example.instruction or None)
            return self._writer.query_requests(query)()
        return self._writer.document_requests(Content(text, picture))()
