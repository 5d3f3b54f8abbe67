"""The documents of a call that are read or will be next, in the order in which the driver writes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mmrag.documents.inputs import InputDocument
from mmrag.ingest.cluster.plans import Chunk, DocumentPlan, key_of
from mmrag.ingest.pages import WantedDocument


class PlanQueue:
    """Plans of documents, and the room that is left for their chunks.

    Args:
        batch_pages: pages of a chunk.
        ahead: chunks that are sent and not taken yet, at most.
        extra: more of them, of the document that is being written alone: it must go on though others have
            taken all the room.
        put: puts an object into the store.
    """

    def __init__(self, batch_pages: int, ahead: int, extra: int, put: Callable[[object], Any]) -> None:
        self._batch_pages = batch_pages
        self._ahead = ahead
        self._extra = extra
        self._put = put
        self._next_documents: Iterator[WantedDocument] = iter(())
        self._asked_keys: set[tuple[str, str]] = set()
        self._plans: deque[DocumentPlan] = deque()  # the first is the one that the driver writes
        self.open = 0
        """Chunks that take room: sent, and not taken yet."""

    def expect(self, documents: Iterable[WantedDocument]) -> None:
        """Take note of the documents to come; they are looked at while there is room."""
        self._next_documents = iter(documents)

    def turn_of(self, document: InputDocument) -> DocumentPlan:
        """Return the plan of the document that is written now; what was expected before it is dropped."""
        key = key_of(document)
        if self._plans and self._plans[0].key == key:
            self._asked_keys.add(key)
            return self._plans[0]
        self._asked_keys.add(key)
        if any(plan.key == key for plan in self._plans):
            while self._plans[0].key != key:
                self.drop(self._plans[0])
        else:
            self._plans.appendleft(self._new_plan(WantedDocument(document, frozenset())))
        return self._plans[0]

    def _new_plan(self, wanted_document: WantedDocument) -> DocumentPlan:
        document = wanted_document.document
        reference = None if document.data is None else self._put(document)
        return DocumentPlan(document, wanted_document.held_pages, self._batch_pages, reference)

    def drop(self, plan: DocumentPlan) -> None:
        """Forget a document that has been written, or that nobody wants."""
        self.release(list(plan.chunks))
        plan.is_dropped = True
        if plan in self._plans:
            self._plans.remove(plan)

    def release(self, chunks: Sequence[Chunk]) -> None:
        """Give up the room of chunks."""
        self.open -= sum(chunk.is_sent for chunk in chunks)
        for chunk in chunks:
            chunk.outcomes = None
            chunk.is_sent = False

    def note_sent(self, chunk: Chunk) -> None:
        """Take note that a reader has a chunk; a part has the room of its whole."""
        chunk.plan.unsent.remove(chunk)
        if not chunk.is_sent and not chunk.is_part:
            chunk.is_sent = True
            self.open += 1

    def next_chunk(self, *, skips_suspects: bool = False) -> Chunk | None:
        """Return the next chunk to be read, if there is room; documents are planned as they are needed."""
        position = 0
        while True:
            is_first = position == 0 and self._plans and self._plans[0].key in self._asked_keys
            room = self._ahead + self._extra if is_first else self._ahead
            while position >= len(self._plans):
                if self.open >= self._ahead or not self._plan_next():
                    return None
            for chunk in self._plans[position].unsent:
                has_room = chunk.is_sent or chunk.is_part or self.open < room
                if has_room and not (skips_suspects and chunk.is_suspect):
                    return chunk
            position += 1

    def _plan_next(self) -> bool:
        """Plan the next document that is expected; return whether there is one."""
        for wanted_document in self._next_documents:
            if key_of(wanted_document.document) not in self._asked_keys:
                self._plans.append(self._new_plan(wanted_document))
                return True
        return False
