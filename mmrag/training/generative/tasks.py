"""Examples of the generative stages to tasks: pictures opened, tokens laid out, negatives and slots drawn.

Everything that is drawn comes from the seed and the number of the draw, so a resumed run draws the same.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from mmrag.embedders.base import Content
from mmrag.errors import MMRagError
from mmrag.models.batch import TokenRow
from mmrag.rerank.listwise import ListwiseMode
from mmrag.rerank.pointwise import PointwiseMode
from mmrag.rerank.protocol import Settings
from mmrag.rerank.traces import Trace, TraceWriter
from mmrag.serving.prompts import Prompts
from mmrag.training.config import ReasonConfig, RerankConfig
from mmrag.training.data import Example, Pictures, Side
from mmrag.training.generative.chat import Chat, Listener, Prompted
from mmrag.training.generative.examples import Lesson, Traced
from mmrag.training.generative.model import Task
from mmrag.types import Candidate, Page, Query, Record, Source

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

NOWHERE = "http://127.0.0.1:9"  # no request is sent: the address is part of no prompt
NO, YES = 0, 1

One = TypeVar("One", contravariant=True)


class Maker(Protocol[One]):
    """Makes tasks of one example."""

    def tasks(self, one: One, rng: random.Random) -> list[Task]:
        """What is learnt of it this time."""
        ...

    def validation(self, one: One) -> list[Task]:
        """What is looked at; the same every time."""
        ...


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """A batch of one process.

    Attributes:
        names: of the examples, for messages.
        tasks: of all of them.
    """

    names: tuple[str, ...]
    tasks: tuple[Task, ...]


class TaskCollator(Generic[One]):
    """Drawn examples to a `TaskBatch`.

    Args:
        maker: of the stage.
        seed: of what is drawn.
        threads: that open pictures side by side.
    """

    def __init__(self, maker: Maker[One], *, seed: int, threads: int = 1) -> None:
        self.maker = maker
        self._seed = seed
        self._pool = ThreadPoolExecutor(max(threads, 1), thread_name_prefix="mmrag-examples")

    def __call__(self, drawn: Sequence[tuple[Any, int]]) -> dict[str, TaskBatch]:
        """One batch.

        Raises:
            ValueError: an example cannot be used; the message names it.
        """
        made = list(self._pool.map(self._tasks, drawn))
        return {
            "batch": TaskBatch(
                names=tuple(one.name for one, _ in drawn),
                tasks=tuple(task for tasks in made for task in tasks),
            )
        }

    def _tasks(self, drawn: tuple[Any, int]) -> list[Task]:
        one, number = drawn
        return named(one, self.maker.tasks, one, random.Random(f"{self._seed}-{number}"))


def named(one: Any, make: Any, *given: Any) -> list[Task]:  # noqa: ANN401  any example
    """What `make` gives; an error names the example.

    Raises:
        ValueError: the example cannot be used.
    """
    try:
        made: list[Task] = make(*given)
    except (MMRagError, ValueError, OSError) as error:
        raise ValueError(f"{one.name} cannot be used: {error}") from error
    return made


# ------------------------------------------------------------------------------- words: restore, reason


def words_task(name: str, chat: Chat, prompt: Prompted, response: str, *, everything: bool = False) -> Task:
    """The next-token task of a response after its prompt; one that is too long is cut at its end.

    Args:
        name: for messages.
        chat: tokenises.
        prompt: what is shown.
        response: what is learnt, and the end of the turn after it where there is room.
        everything: learn the prompt's words, too; a picture's placeholders never are.

    Raises:
        ValueError: the prompt leaves no room for a response.
    """
    room = chat.max_tokens - len(prompt.ids)
    if room < 1:
        raise ValueError(
            f"the prompt must leave room for a response in max_tokens={chat.max_tokens}, got "
            f"{len(prompt.ids)} tokens of it. Raise max_tokens or lower max_visual_tokens."
        )
    written = [*chat.words(response), chat.end][:room]
    ids = (*prompt.ids, *written)
    picture = chat.backbone.image_token_id
    first = 0 if everything else len(prompt.ids) - 1
    at = tuple(place for place in range(first, len(ids) - 1) if ids[place + 1] != picture)
    return Task(name, TokenRow(ids, prompt.images), "words", at, tuple(ids[place + 1] for place in at))


class LessonMaker:
    """Tasks of the stage `restore`.

    Args:
        chat: tokenises.
        pictures: opens what is shown.
        loss_on: see `mmrag.training.config.RestoreConfig`.
    """

    def __init__(self, chat: Chat, pictures: Pictures, *, loss_on: str) -> None:
        self._chat, self._pictures, self._everything = chat, pictures, loss_on == "all"

    def tasks(self, one: Lesson, rng: random.Random) -> list[Task]:
        """See `Maker.tasks`; nothing is drawn."""
        del rng
        return self.validation(one)

    def validation(self, one: Lesson) -> list[Task]:
        """See `Maker.validation`."""
        picture = None if one.content is None else self._pictures.of(one.content)
        messages: list[dict[str, Any]] = []
        for role, text in one.turns:
            words = self._chat.plain(text)
            content: Any = words
            if picture is not None and role == "user":
                content = [{"type": "image", "image": picture}, {"type": "text", "text": words}]
                picture = None
            messages.append({"role": role, "content": content})
        prompt = self._chat.prompt(messages)
        return [words_task(one.name, self._chat, prompt, one.response, everything=self._everything)]


class TraceMaker:
    """Tasks of the stage `reason`: what a `TraceWriter` asks, and the teacher's trace.

    Args:
        chat: tokenises.
        pictures: opens what is shown.
        config: what the `TraceWriter` was told.
    """

    def __init__(self, chat: Chat, pictures: Pictures, config: ReasonConfig) -> None:
        self._chat, self._pictures, self._images = chat, pictures, config.images
        self._asking = writer(config, None)

    def tasks(self, one: Traced, rng: random.Random) -> list[Task]:
        """See `Maker.tasks`; nothing is drawn."""
        del rng
        return self.validation(one)

    def validation(self, one: Traced) -> list[Task]:
        """See `Maker.validation`."""
        if one.trace is None:
            raise ValueError("an input must have a trace, got none. Look it up first.")
        picture = self._pictures.of(one.content) if self._images else None
        if one.side == "query":
            query = Query(one.content.text or None, picture, instruction=one.instruction or None)
            steps = self._asking.query_requests(query)()
        else:
            steps = self._asking.document_requests(Content(one.content.text, picture))()
        listener = Listener(self._chat)
        prompt = listener.prompted(listener.heard(steps))
        response = one.trace.text
        if self._chat.opens_thought(prompt.ids):  # the template has opened it already
            response = response.removeprefix("<think>\n")
        return [words_task(one.name, self._chat, prompt, response)]


def writer(config: ReasonConfig, cache: str | None) -> TraceWriter:
    """A `TraceWriter` that is never to ask anything: for its prompts, or for the traces that it kept."""
    return TraceWriter(
        NOWHERE,
        config.teacher or "teacher",
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        images=config.images,
        image_pixels=config.image_pixels,
        text_chars=config.text_chars,
        prompts=config.prompts,
        cache=cache,
        render=_blank,
    )


def look_up(inputs: Sequence[Traced], config: ReasonConfig, pictures: Pictures) -> list[Traced]:
    """The inputs with their traces, from the folder in which a `TraceWriter` kept them.

    Inputs without a trace are left out, and so are those whose trace was cut off: what stops in the middle
    is nothing to learn from. How many is said in the log.

    Raises:
        ValueError: traces are to be looked up and no folder or no teacher is named, or none is left.
    """
    if any(one.trace is None for one in inputs) and (config.traces is None or config.teacher is None):
        raise ValueError(
            "an input must bring its trace, or reason: traces and reason: teacher must say where a "
            f"TraceWriter kept it, got traces={config.traces!r}, teacher={config.teacher!r}. The "
            "teacher is the model's name at its server."
        )
    kept = writer(config, config.traces)
    found: list[Traced] = []
    missing = cut = 0
    for one in inputs:
        trace = one.trace or _kept(kept, one, pictures)
        if trace is None or not trace.text:
            missing += 1
        elif trace.cut:
            cut += 1
        else:
            found.append(replace(one, trace=trace))
    if missing or cut:
        logger.warning(
            "of %d inputs %d have no trace and %d one that was cut off: left out", len(inputs), missing, cut
        )
    if not found:
        raise ValueError(
            f"at least one input must have a whole trace, got {len(inputs)} without. Traces are found by "
            "content, prompt, teacher and settings: give the reason: section what the TraceWriter was given."
        )
    return found


def _kept(kept: TraceWriter, one: Traced, pictures: Pictures) -> Trace | None:
    content = one.content
    if one.side == "query":
        query = Query(content.text or None, pictures.of(content), instruction=one.instruction or None)
        steps = kept.query_requests(query)()
    elif content.file is not None and one.sha256:
        steps = kept.document_requests(_page(content, None, one.sha256))()
    elif content.has_picture:
        steps = kept.document_requests(Content(content.text, pictures.of(content)))()
    else:
        steps = kept.document_requests(content.text)()
    try:
        next(steps)
    except StopIteration as done:
        trace: Trace = done.value
        return trace
    steps.close()
    return None


def _blank(page: Page, pixels: int) -> Image:
    """Stands for a picture that is only to be asked with, never looked at."""
    from PIL import Image as PILImage

    del page, pixels
    return PILImage.new("RGB", (1, 1))


def _page(side: Side, picture: Image | None, sha256: str = "") -> Page:
    """A side as a page of its file."""
    file = side.file or side.image or ""
    source = Source(sha256, "image", file, file)
    return Page(side.key, side.key, side.page or 0, "", side.text, (), (0.0, 0.0), source, image=picture)


# -------------------------------------------------------------------------------------------- rerank


class RerankMaker:
    """Tasks of the stage `rerank`: requests of the modes ``pointwise`` and ``listwise``, without a thought.

    The modes of `mmrag.rerank` write them, a `Listener` in the place of the server; so a model is trained
    on the words, picture sizes and answer tokens that `mmrag.rerank.ThinkReranker` will ask it with.

    Args:
        chat: tokenises.
        pictures: opens what is shown.
        config: of the stage.

    Raises:
        ValueError: the tokens of the answers cannot tell them apart.
    """

    def __init__(self, chat: Chat, pictures: Pictures, config: RerankConfig) -> None:
        self._chat, self._pictures, self._config = chat, pictures, config
        settings = Settings(
            instruction=config.instruction,
            images=config.images,
            text=config.text,
            image_pixels=config.image_pixels,
            prompts=Prompts(config.prompts),
        )
        self._pointwise, self._listwise = PointwiseMode(settings), ListwiseMode(settings)
        listener = Listener(chat)
        for mode in (self._pointwise, self._listwise):
            listener.settle(mode.prepare())
        most = 1 + config.listwise[1]
        self._opening, self._labels = labels(chat, most)

    def tasks(self, one: Example, rng: random.Random) -> list[Task]:
        """See `Maker.tasks`: the positive and some negatives alone, and a list with it somewhere."""
        config, listener = self._config, Listener(self._chat)
        alone = rng.sample(one.negatives, min(config.negatives, len(one.negatives)))
        low, high = (min(number, len(one.negatives)) for number in config.listwise)
        count, slot = rng.randint(low, high), rng.random()
        listed = rng.sample(one.negatives, count)
        made = []
        if config.pointwise_weight > 0:
            made += [self._alone(one, side, listener) for side in (one.positive, *alone)]
        if config.listwise_weight > 0 and count >= config.listwise[0]:
            place = int(slot * (count + 1))
            made.append(self._list(one, [*listed[:place], one.positive, *listed[place:]], place, listener))
        return made

    def validation(self, one: Example) -> list[Task]:
        """See `Maker.validation`: its positive and all its negatives alone."""
        listener = Listener(self._chat)
        return [self._alone(one, side, listener) for side in (one.positive, *one.negatives)]

    def _alone(self, one: Example, side: Side, listener: Listener) -> Task:
        (steps,) = self._pointwise.requests(self._query(one), [self._candidate(side)])
        ask = listener.heard(steps)
        prompt = listener.prompted(ask)
        yes, no = (ask.body or {})["logprob_token_ids"]
        right = YES if side.key in one.relevant else NO
        row = TokenRow(prompt.ids, prompt.images)
        return Task(one.name, row, "pointwise", (len(prompt.ids) - 1,), (right,), (no, yes))

    def _list(self, one: Example, sides: Sequence[Side], place: int, listener: Listener) -> Task:
        (steps,) = self._listwise.requests(self._query(one), [self._candidate(side) for side in sides])
        prompt = listener.prompted(listener.heard(steps))
        ids = (*prompt.ids, *self._opening)
        options = self._labels[: len(sides)]
        return Task(one.name, TokenRow(ids, prompt.images), "listwise", (len(ids) - 1,), (place,), options)

    def _query(self, one: Example) -> Query:
        picture = self._pictures.of(one.query) if self._config.images else None
        return Query(one.query.text or None, picture)

    def _candidate(self, side: Side) -> Candidate:
        if not side.has_picture:
            return Candidate(Record(side.key, None, side.text), 0.0, 1)
        picture = self._pictures.of(side) if self._config.images else None
        return Candidate(Record(side.key, None, side.text, page=_page(side, picture)), 0.0, 1)


def labels(chat: Chat, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens with which an order begins (``[``), and those that then tell 1 to `count` apart.

    Raises:
        ValueError: this tokenizer has no single token for each.
    """
    rows = [chat.tokens(f"[{number}] >") for number in range(1, count + 1)]
    shared = 0
    while len({row[shared] for row in rows}) == 1:
        shared += 1
    own = tuple(row[shared] for row in rows)
    if len(set(own)) < count:
        raise ValueError(
            f"the numbers [1] to [{count}] must begin with tokens of their own, this model's do not. Lower "
            "rerank: listwise."
        )
    return tuple(rows[0][:shared]), own
