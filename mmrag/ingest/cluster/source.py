"""`ClusterPages`: pages read and embedded by actors, in the order in which the driver writes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import mmrag
from mmrag.documents.failures import FailureRun
from mmrag.documents.inputs import InputDocument, Skipped
from mmrag.documents.page_reading import DocumentInfo
from mmrag.documents.reader import PASSWORD_VARIABLE, Password
from mmrag.errors import WorkerError
from mmrag.ingest.cluster.actors import EmbeddingActor, Fitness, ReadingActor, reading_fingerprints
from mmrag.ingest.cluster.dispatch import Dispatcher
from mmrag.ingest.cluster.plans import DocumentPlan
from mmrag.ingest.cluster.pool import DEPTH, ActorPool
from mmrag.ingest.cluster.queue import PlanQueue
from mmrag.ingest.cluster.session import RaySession, check_port, imported_ray
from mmrag.ingest.cluster.settings import RaySettings
from mmrag.ingest.embedding import image_pixels, images_wanted
from mmrag.ingest.pages import PageBatch, WantedDocument
from mmrag.ingest.report import Stage

if TYPE_CHECKING:
    from mmrag.documents import ReaderSettings
    from mmrag.embedders.base import Embedder


@contextmanager
def cluster_pages(
    embedder: Embedder, reader: ReaderSettings, password: Password, settings: RaySettings
) -> Iterator[ClusterPages]:
    """Make a source of pages in a cluster; its processes start with the first page and end with the block.

    Args:
        embedder: is pickled and sent to its processes.
        reader: settings of the readers, one reading process each.
        password: of encrypted files; see `mmrag.documents.DocumentReader`.
        settings: of the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        TypeError: the embedder, or a converter or password of the reader, cannot be pickled.
        ServerUnreachableError: there is no cluster at the address.
    """
    of_embedder = _pickle_of("embedder", embedder)
    of_reader = _pickle_of("reader's settings and password", (replace(reader, workers=1), password))
    if settings.address is not None:
        check_port(settings.address)
    with ExitStack() as stack:
        start = partial(_start_actors, stack, embedder, reader, of_embedder, of_reader, settings)
        yield ClusterPages(start)


def _start_actors(
    stack: ExitStack,
    embedder: Embedder,
    reader: ReaderSettings,
    of_embedder: bytes,
    of_reader: bytes,
    settings: RaySettings,
) -> tuple[PlanQueue, Dispatcher]:
    """Connect and start the actors; the stack ends them."""
    session = stack.enter_context(RaySession(settings))
    ray, (readers, embedders) = session.ray, settings.counts(*session.resources())
    reader_pool = ActorPool(
        ray,
        "reading",
        ReadingActor,
        (ray.put(of_reader), os.environ.get(PASSWORD_VARIABLE)),
        readers,
        {"num_cpus": settings.reader_cpus},
        _check("reading", reading_fingerprints(reader)),
        settings.seconds,
    )
    stack.enter_context(reader_pool)
    embedder_pool = ActorPool(
        ray,
        "embedding",
        EmbeddingActor,
        (ray.put(of_embedder),),
        embedders,
        {"num_cpus": settings.embedder_cpus, "num_gpus": settings.embedder_gpus},
        _check("embedding", (embedder.fingerprint,)),
        settings.seconds,
    )
    stack.enter_context(embedder_pool)
    ahead = settings.ahead or 2 * DEPTH * (readers + embedders)
    queue = PlanQueue(settings.batch_pages, ahead, DEPTH * readers, ray.put)
    pixels, images = image_pixels(embedder), images_wanted(embedder)
    return queue, Dispatcher(ray, reader_pool, embedder_pool, queue, settings.batch_pages, pixels, images)


def _pickle_of(noun: str, value: object) -> bytes:
    """Return the pickle of what goes to other processes.

    Raises:
        TypeError: it cannot be.
    """
    imported_ray()
    from ray import cloudpickle

    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:
        raise TypeError(
            f"the {noun} must be picklable to go to the processes of a cluster, got an error: "
            f"{type(error).__name__}: {error}. Keep locks, files and connections out of it, or make them "
            "where they are first used."
        ) from error


def _check(noun: str, fingerprints: tuple[str, ...]) -> Callable[[Fitness], None]:
    """Return a check that a process of the cluster does what this one would do."""

    def check(fitness: Fitness) -> None:
        other_prints = sorted(set(fitness.fingerprints) - set(fingerprints))
        if fitness.version != mmrag.__version__ or other_prints:
            there = ", ".join([f"mmrag {fitness.version}", *other_prints])
            raise WorkerError(
                f"the {noun} processes of the cluster must do what this one would, with mmrag "
                f"{mmrag.__version__}, got {there} on {fitness.node}. Install the same mmrag, extras and "
                "programs on every node."
            )

    return check


class ClusterPages:
    """A source of pages (`mmrag.ingest.pages.PageSource`) in the processes of a cluster; see `cluster_pages`.

    Where nothing is to be read, nothing is started. What starts raises `WorkerError` if the cluster has no
    room, or if its processes are of another version.

    Args:
        start: connects and starts the actors.
    """

    def __init__(self, start: Callable[[], tuple[PlanQueue, Dispatcher]]) -> None:
        self._start = start
        self._parts: tuple[PlanQueue, Dispatcher] | None = None
        self._next_documents: Iterable[WantedDocument] = ()

    def expect(self, documents: Iterable[WantedDocument]) -> None:
        """Take note of the documents to come; they are looked at while there is room."""
        self._next_documents = documents

    def info(self, document: InputDocument) -> DocumentInfo:
        """Return page count and title; raises as `DocumentReader.info` does."""
        info = self._open_plan(document).info
        assert info is not None
        return info

    def stored_bytes(self, document: InputDocument) -> bytes | None:
        """Return what the index keeps to show the pages again; raises as `info` does."""
        stored_pdf = self._open_plan(document).stored_pdf
        return document.data if stored_pdf is None else stored_pdf

    def batches(self, document: InputDocument, numbers: Sequence[int]) -> Iterator[PageBatch]:
        """Yield these pages in order with their rows; raises as `DocumentReader.pages` does."""
        queue, dispatcher = self._working_parts()
        plan = self._open_plan(document)
        if tuple(numbers) != plan.numbers:
            queue.release(plan.renumber(numbers))
        run = FailureRun(document.source, numbers)
        try:
            while plan.chunks:
                chunk = plan.chunks[0]
                while not chunk.is_done:
                    dispatcher.pump(1.0)
                batch, rest = _in_run(chunk.outcome(), chunk.numbers or (), run)
                queue.release([plan.chunks.popleft()])
                dispatcher.pump(0.0)  # no actor waits while the driver writes
                if batch.size:
                    yield batch
                if rest is not None:
                    break
        finally:
            queue.drop(plan)

    def stages(self) -> dict[str, Stage]:
        """Return reading and embedding so far."""
        return {"read": Stage(), "embed": Stage()} if self._parts is None else self._parts[1].stages()

    def _working_parts(self) -> tuple[PlanQueue, Dispatcher]:
        """Return what does the work, started on first use."""
        if self._parts is None:
            self._parts = self._start()
            self._parts[0].expect(self._next_documents)
        return self._parts

    def _open_plan(self, document: InputDocument) -> DocumentPlan:
        """Return the plan of a document when its pages are counted.

        Raises:
            DocumentError: it cannot be opened.
        """
        queue, dispatcher = self._working_parts()
        plan = queue.turn_of(document)
        while plan.info is None and plan.error is None:
            dispatcher.pump(1.0)
        if plan.error is not None:
            queue.drop(plan)
            raise plan.error
        return plan


def _in_run(batch: PageBatch, numbers: Sequence[int], run: FailureRun) -> tuple[PageBatch, Skipped | None]:
    """Count the pages of a batch among those that fail in a row.

    Returns:
        The batch, without what is left out, and what stands for all pages after it.
    """
    failures = {failure.page: failure for failure in batch.failures}
    kept_failures: list[Skipped] = []
    for number in numbers:
        failure = failures.get(number)
        kept_failures += [] if failure is None else [failure]
        rest = run.count(is_failure=failure is not None)
        if rest is not None:
            return replace(batch, failures=[*kept_failures, rest]), rest
    return batch, None
