"""Work for the actors: who gets which chunk, and what becomes of it.

One thread does everything: it gives chunks to actors that have room, waits for any of them to answer, and
takes what is done. It does so while the ingest waits for a batch, and once more before it writes one, so that
every actor has a chunk at work and one waiting.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

from mmrag.documents.conversion.base import CONVERTED_KINDS
from mmrag.documents.failures import MOST_FAILURES as MOST_LOST
from mmrag.documents.inputs import LOST_PAGE, Skipped
from mmrag.documents.page_reading import Images
from mmrag.errors import DocumentError, WorkerError
from mmrag.ingest.cluster.actors import ReadReply, ReadRequest
from mmrag.ingest.cluster.plans import MOST_FAILURES, Chunk
from mmrag.ingest.cluster.pool import DEPTH, Actor, ActorPool, reason_of
from mmrag.ingest.cluster.queue import PlanQueue
from mmrag.ingest.pages import LOST_ROWS, PageBatch
from mmrag.ingest.report import Stage


class Dispatcher:
    """Gives chunks to actors and takes what becomes of them.

    Args:
        ray: the module.
        readers: actors that read.
        embedders: actors that embed.
        queue: has the chunks.
        batch_pages: pages that are embedded together.
        pixels: of the pages' pictures; None for none.
        images: pages that get a picture.
    """

    def __init__(
        self,
        ray: Any,  # noqa: ANN401
        readers: ActorPool,
        embedders: ActorPool,
        queue: PlanQueue,
        batch_pages: int,
        pixels: int | None,
        images: Images,
    ) -> None:
        self._ray = ray
        self._readers = readers
        self._embedders = embedders
        self._queue = queue
        self._batch_pages = batch_pages
        self._pixels, self._images = pixels, images
        self._reading: dict[Any, tuple[Actor, Chunk, Any]] = {}
        self._to_embed: deque[Chunk] = deque()
        self._embedding: dict[Any, tuple[Actor, list[Chunk]]] = {}
        self._reading_stage, self._embedding_stage = Stage(), Stage()
        self._lost_in_row = {"reading": 0, "embedding": 0}

    def stages(self) -> dict[str, Stage]:
        """Return reading and embedding so far."""
        return {
            "read": replace(self._reading_stage, processes=len(self._readers.pids)),
            "embed": replace(self._embedding_stage, processes=len(self._embedders.pids)),
        }

    def pump(self, seconds: float) -> None:
        """Give actors work, wait this long for one of them, and take what is done."""
        self._send_reads()
        self._send_embeddings()
        starting_actors = {**self._readers.starting_actors(), **self._embedders.starting_actors()}
        references = [*starting_actors, *self._reading, *self._embedding]
        if not references:
            return
        ready, _ = self._ray.wait(references, num_returns=1, timeout=seconds)
        if ready and len(references) > 1:
            ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        for reference in ready:
            if reference in self._reading:
                self._finish_reading(reference)
            elif reference in self._embedding:
                self._finish_embedding(reference)
            else:
                actor = starting_actors[reference]
                (self._readers if actor in self._readers.actors else self._embedders).welcome(actor)

    def _send_reads(self) -> None:
        """Give readers the next chunks, suspects to one that has nothing else."""
        spared_actor = None
        while (chunk := self._queue.next_chunk()) is not None:
            if chunk.is_suspect:
                actor = self._readers.idle()
                if actor is None:
                    spared_actor = self._readers.least_busy()  # gets nothing more, and is idle soon
                    chunk = self._queue.next_chunk(skips_suspects=True)
                    actor = None if chunk is None else self._reader_for(chunk, spared_actor)
            else:
                actor = self._reader_for(chunk, spared_actor)
            if chunk is None or actor is None:
                return
            self._send_read(actor, chunk)

    def _reader_for(self, chunk: Chunk, spared_actor: Actor | None) -> Actor | None:
        """Return a reader with room: for a converted document the one that has it, while that lives."""
        keeper = chunk.plan.reader
        if keeper is None or keeper not in self._readers.actors or keeper is spared_actor:
            return self._readers.free(spared_actor)
        return keeper if keeper.load < DEPTH and not keeper.is_alone else None

    def _send_read(self, actor: Actor, chunk: Chunk) -> None:
        plan = chunk.plan
        self._queue.note_sent(chunk)
        actor.load += 1
        actor.is_alone = chunk.is_suspect
        if plan.document.source.kind in CONVERTED_KINDS:
            plan.reader = actor
        most = 0 if plan.opens_alone else plan.batch_pages
        request = ReadRequest(chunk.numbers, plan.held_pages, most, self._pixels, self._images)
        document = plan.document if plan.reference is None else plan.reference
        reply, outcomes = actor.handle.read.options(num_returns=2).remote(document, request)
        self._reading[reply] = (actor, chunk, outcomes)

    def _finish_reading(self, reference: Any) -> None:  # noqa: ANN401
        """Take a reader's reply."""
        actor, chunk, outcomes = self._reading.pop(reference)
        actor.load, actor.is_alone = actor.load - 1, False
        reply, death = self._reply(reference)
        if death is not None:
            self._readers.replace(actor)
            self._fail(chunk, "reading", death)
            return
        self._reading_stage = replace(
            self._reading_stage,
            pages=self._reading_stage.pages + reply.pages,
            seconds=self._reading_stage.seconds + reply.seconds,
        )
        if chunk.plan.is_dropped:
            return
        self._lost_in_row["reading"] = 0
        self._take(chunk, reply, outcomes)

    def _take(self, chunk: Chunk, reply: ReadReply, outcomes: Any) -> None:  # noqa: ANN401
        """Note what was read of a chunk; it is embedded next, if there is anything to embed."""
        plan = chunk.plan
        if reply.error is not None:
            chunk.error = reply.error
            plan.error = reply.error if plan.info is None else plan.error
            return
        if plan.info is None:
            plan.note_opening(reply, chunk)
        if reply.pages:
            chunk.outcomes, chunk.pages = outcomes, reply.pages
            self._to_embed.append(chunk)
        else:
            chunk.result = PageBatch([], self._ray.get(outcomes), {}, {})

    def _send_embeddings(self) -> None:
        """Give embedders what has been read: as much as a batch takes; less only to one that is idle."""
        self._to_embed = deque(chunk for chunk in self._to_embed if chunk.outcomes is not None)
        while self._to_embed:
            suspect = next((chunk for chunk in self._to_embed if chunk.is_suspect), None)
            idle = self._embedders.idle()
            if suspect is not None and idle is not None:
                self._to_embed.remove(suspect)
                self._send_embedding(idle, [suspect])
                continue
            spared_actor = None if suspect is None else self._embedders.least_busy()
            actor = self._embedders.free(spared_actor)
            chunks = self._next_batch()
            pages = sum(chunk.pages for chunk in chunks)
            if actor is None or not chunks or (actor.load and pages < self._batch_pages):
                return
            for chunk in chunks:
                self._to_embed.remove(chunk)
            self._send_embedding(actor, chunks)

    def _next_batch(self) -> list[Chunk]:
        """Return chunks that are embedded together, up to the pages of a batch."""
        chunks: list[Chunk] = []
        pages = 0
        for chunk in self._to_embed:
            if chunk.is_suspect:
                continue
            if chunks and pages + chunk.pages > self._batch_pages:
                break
            chunks.append(chunk)
            pages += chunk.pages
        return chunks

    def _send_embedding(self, actor: Actor, chunks: list[Chunk]) -> None:
        actor.load += 1
        actor.is_alone = chunks[0].is_suspect
        reference = actor.handle.embed.remote(*(chunk.outcomes for chunk in chunks))
        self._embedding[reference] = (actor, chunks)

    def _finish_embedding(self, reference: Any) -> None:  # noqa: ANN401
        """Take an embedder's reply."""
        actor, chunks = self._embedding.pop(reference)
        actor.load, actor.is_alone = actor.load - 1, False
        reply, death = self._reply(reference)
        if death is not None and not self._is_lost(death):
            self._embedders.replace(actor)
        if death is None and reply.error is not None:
            raise reply.error
        if death is not None or reply.failure:
            why = reply.failure if death is None else death
            for chunk in chunks:
                if death is not None and self._is_lost(
                    death
                ):  # with the node that had read it: read it again
                    chunk.outcomes = None
                    chunk.plan.unsent.appendleft(chunk)
                else:
                    self._fail(chunk, "embedding", why)
            return
        self._lost_in_row["embedding"] = 0
        pages = sum(chunk.pages for chunk in chunks)
        self._embedding_stage = replace(
            self._embedding_stage,
            pages=self._embedding_stage.pages + pages,
            seconds=self._embedding_stage.seconds + reply.seconds,
        )
        for chunk, batch in zip(chunks, reply.batches, strict=True):
            chunk.result, chunk.outcomes = batch, None

    # ---- faults ----

    def _reply(self, reference: Any) -> tuple[Any, BaseException | None]:  # noqa: ANN401
        """Return what a task has returned, or the fault of Ray, its process or its machine.

        Raises:
            Exception: what the task raised: a fault of ours, or of what the caller has passed.
        """
        faults = self._ray.exceptions
        try:
            return self._ray.get(reference), None
        except faults.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, faults.RayError):
                return None, cause
            raise (cause if isinstance(cause, Exception) else error) from error
        except faults.RayError as error:
            return None, error

    def _is_lost(self, fault: BaseException) -> bool:
        """Return whether an object of the store is lost, and no process at fault."""
        return isinstance(fault, self._ray.exceptions.ObjectLostError)

    def _fail(self, chunk: Chunk, stage: str, why: BaseException | str) -> None:
        """Try a chunk again, take it apart, or leave out its one page.

        Raises:
            WorkerError: too many pages in a row are lost: it is not the pages.
        """
        plan = chunk.plan
        if plan.is_dropped:
            return
        chunk.failures += 1
        chunk.outcomes = chunk.outcomes if stage == "embedding" else None
        if stage == "reading":
            self._reading_stage = replace(self._reading_stage, retries=self._reading_stage.retries + 1)
        else:
            self._embedding_stage = replace(self._embedding_stage, retries=self._embedding_stage.retries + 1)
        if chunk.failures < MOST_FAILURES:
            (self._to_embed if stage == "embedding" else plan.unsent).appendleft(chunk)
        elif chunk.numbers is None and not plan.opens_alone:
            plan.opens_alone, chunk.failures = True, 1
            plan.unsent.appendleft(chunk)
        elif chunk.numbers is not None and not chunk.is_part:
            plan.unsent.extendleft(reversed(chunk.take_apart()))
        else:
            self._lose(chunk, stage, why)

    def _lose(self, chunk: Chunk, stage: str, why: BaseException | str) -> None:
        """Leave out a page, or a document that cannot be opened."""
        source = chunk.plan.document.source
        self._lost_in_row[stage] += 1
        if self._lost_in_row[stage] >= MOST_LOST:
            detail = why if isinstance(why, str) else reason_of(why)
            raise WorkerError(
                f"{stage} must work for some pages, got {MOST_LOST} in a row that failed, the last with: "
                f"{detail}. Look at the nodes of the cluster; what has been written stays, and adding again "
                "goes on from it."
            )
        if chunk.numbers is None:
            chunk.error = chunk.plan.error = DocumentError(f"{source.name}: opening it {_failure_words(why)}")
        else:
            start = LOST_ROWS if stage == "embedding" else LOST_PAGE
            skipped = Skipped(
                source.name, f"{start}{_failure_words(why)}", chunk.numbers[0], source.document_id
            )
            chunk.result = PageBatch([], [skipped], {}, {})
        chunk.outcomes = None


def _failure_words(why: BaseException | str) -> str:
    """Word why a page is left out, after ``reading it``."""
    return f"failed ({why})" if isinstance(why, str) else f"ended its process {MOST_FAILURES} times"
