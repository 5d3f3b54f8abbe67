"""Actors of one kind: start, count what each has to do, replace those that have ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmrag.errors import WorkerError
from mmrag.ingest.cluster.actors import Fitness

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

DEPTH = 2
"""Batches that an actor has at most: one at work, one that waits, so that it never waits for the driver."""

_MOST_FAILED_STARTS = 3  # in a row


@dataclass(eq=False)
class Actor:
    """A process of the cluster, which runs one of our classes.

    Attributes:
        handle: Ray's.
        start_reference: reference to its `Fitness`.
        fitness: None until it is up.
        load: batches that it has.
        is_alone: whether it has one that must have no company: its process ended with it before.
    """

    handle: Any
    start_reference: Any
    fitness: Fitness | None = None
    load: int = 0
    is_alone: bool = False


class ActorPool:
    """Actors of one kind.

    Args:
        ray: the module.
        noun: of the kind, for messages: ``"reading"``.
        kind: class of the actors.
        arguments: of its constructor; objects of the store are taken from there.
        count: of actors.
        options: ``num_cpus`` and the like.
        check: refuses the fitness of an actor; raises `WorkerError`.
        seconds: longest wait for the first of them.
    """

    def __init__(
        self,
        ray: Any,  # noqa: ANN401
        noun: str,
        kind: type,
        arguments: tuple[Any, ...],
        count: int,
        options: dict[str, Any],
        check: Callable[[Fitness], None],
        seconds: float,
    ) -> None:
        self._ray = ray
        self._noun = noun
        # no restart by Ray: a call to an actor that is about to be restarted fails, too, and would be blamed
        self._class = ray.remote(max_restarts=0, max_task_retries=0, **options)(kind)
        self._arguments = arguments
        self._options = options
        self._check = check
        self._seconds = seconds
        self._since = time.monotonic()
        self._failed_starts = 0
        self.actors: list[Actor] = []
        for _ in range(count):
            self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        handle = self._class.remote(*self._arguments)
        self.actors.append(Actor(handle, handle.fitness.remote()))

    @property
    def pids(self) -> list[int]:
        """Process ids of the actors that are up."""
        return [actor.fitness.pid for actor in self.actors if actor.fitness is not None]

    def starting_actors(self) -> dict[Any, Actor]:
        """Return the actors that are not up yet by the reference that tells it.

        Raises:
            WorkerError: none is up, and the wait has been long.
        """
        waiting_actors = {actor.start_reference: actor for actor in self.actors if actor.fitness is None}
        if len(waiting_actors) < len(self.actors):
            self._since = time.monotonic()
        elif time.monotonic() - self._since > self._seconds:
            wanted_resources = ", ".join(f"{name}={value:g}" for name, value in self._options.items())
            raise WorkerError(
                f"the cluster must have room for one {self._noun} process ({wanted_resources}), got none "
                f"within {self._seconds:g} s; it has {_resources(self._ray)}. Ask for less, or add nodes."
            )
        return waiting_actors

    def welcome(self, actor: Actor) -> None:
        """Take an actor that is up into service, or start another in its place.

        Raises:
            WorkerError: it does not fit, or several in a row could not be started.
        """
        try:
            actor.fitness = self._ray.get(actor.start_reference)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise WorkerError(
                    f"a {self._noun} process must start, got {self._failed_starts} in a row that did not: "
                    f"{reason_of(error)}. Look at Ray's logs of that node."
                ) from error
            self.replace(actor)
            return
        self._check(actor.fitness)
        self._failed_starts = 0

    def idle(self) -> Actor | None:
        """Return an actor that has nothing to do."""
        actor = self.least_busy()
        return actor if actor is not None and not actor.load else None

    def free(self, spared_actor: Actor | None = None) -> Actor | None:
        """Return the least busy actor that has room, but for one."""
        actor = self.least_busy(spared_actor)
        return actor if actor is not None and actor.load < DEPTH else None

    def least_busy(self, spared_actor: Actor | None = None) -> Actor | None:
        """Return the actor that has least to do, of those that may be given more."""
        actors = [
            a for a in self.actors if a.fitness is not None and not a.is_alone and a is not spared_actor
        ]
        return min(actors, key=lambda actor: actor.load, default=None)

    def replace(self, actor: Actor) -> None:
        """Start another actor in place of one that has ended; what this one has yet to do fails."""
        if actor in self.actors:
            self.actors.remove(actor)
            self._kill(actor)
            self._start()

    def _kill(self, actor: Actor) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(actor.handle)

    def close(self) -> None:
        """End all actors."""
        for actor in self.actors:
            self._kill(actor)
        self.actors = []


def reason_of(error: BaseException) -> str:
    """Return the line of a Ray error that says what happened: the last, where a traceback comes before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300].rstrip(".")


def _resources(ray: Any) -> str:  # noqa: ANN401
    resources = ray.cluster_resources()
    return f"{resources.get('CPU', 0):g} processors and {resources.get('GPU', 0):g} graphics cards"
