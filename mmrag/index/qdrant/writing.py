"""How records get into a collection: whole calls, in requests of bounded size.

A call that fits into one request of a collection of one shard is one operation there. Any other is staged:
its new records are written with ``live = 0``, which no search and no count sees, and made live by one last
operation when all of them are there, which is counted before the call returns. A call that is cut leaves
nothing that is seen; the second attempt writes over what was staged, since ids say where, and
`QdrantIndex.check` sweeps up what nobody tries again.

Records that are replaced are written over in place, each whole, old or new: a call that replaces several in
more than one request and is cut has replaced some of them, raises, and is finished by a second attempt.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmrag.errors import ServerAnswerError
from mmrag.index.qdrant.collection import Collection, all_of, value_is
from mmrag.index.qdrant.points import Draft, payload_bytes, point_id
from mmrag.index.qdrant.search import LIVE

_MOST_POINTS = 512
"""Points of a request."""

Send = Callable[[Callable[[Any], None], Sequence[Any]], None]
"""Runs an operation for each of several values, perhaps a few at once; raises when one fails."""


def write_records(
    collection: Collection,
    drafts: Sequence[Draft],
    orders: dict[str, int],
    first_order: int,
    *,
    batch_bytes: int,
    is_single: bool,
    send: Send,
) -> None:
    """Write the records of one call; see the module.

    Args:
        collection: of the pages.
        drafts: the records.
        orders: all_orders of those that are there and live, by id.
        first_order: place of the first new one.
        batch_bytes: about the size of a request.
        is_single: whether one request is written whole or not at all.
        send: runs requests.

    Raises:
        ServerError: a request failed; what is seen is said in the module.
    """
    batch = str(uuid.uuid4())
    new_drafts = [draft for draft in drafts if draft.id not in orders]
    all_orders = orders | {draft.id: first_order + number for number, draft in enumerate(new_drafts)}
    batches = list(batches_of(drafts, batch_bytes))
    if is_single and len(batches) == 1:
        collection.upsert([draft.point(all_orders[draft.id], batch, live=True) for draft in drafts])
        return
    stage = [
        [draft.point(all_orders[draft.id], batch, live=False) for draft in part]
        for part in batches_of(new_drafts, batch_bytes)
    ]
    send(collection.upsert, stage)
    old_drafts = [draft for draft in drafts if draft.id in orders]
    replacements = [
        [draft.point(all_orders[draft.id], batch, live=True) for draft in part]
        for part in batches_of(old_drafts, batch_bytes)
    ]
    send(collection.upsert, replacements)
    is_of_batch = value_is("batch", batch)
    collection.set_payload_where(all_of(is_of_batch, value_is("live", 0)), {"live": 1})
    (count,) = collection.counts([all_of(is_of_batch, LIVE)])
    if count != len(drafts):
        raise ServerAnswerError(
            f"{len(drafts)} records must be there after they were written, got {count}. Another process "
            "changes the same records, or a node is lost: do the same again when it is back.",
            str(count),
        )


def batches_of(drafts: Sequence[Draft], batch_bytes: int) -> Iterator[list[Draft]]:
    """Yield records in parts of about so many bytes."""
    part: list[Draft] = []
    size = 0
    for draft in drafts:
        bytes_of_draft = payload_bytes(draft)
        if part and (size + bytes_of_draft > batch_bytes or len(part) == _MOST_POINTS):
            yield part
            part, size = [], 0
        part.append(draft)
        size += bytes_of_draft
    if part:
        yield part


def live_orders(collection: Collection, ids: Sequence[str], part: int = 1000) -> dict[str, int]:
    """Return the all_orders of the records that are there and live, by id."""
    orders: dict[str, int] = {}
    for start in range(0, len(ids), part):
        points = collection.retrieve(
            [point_id(id) for id in ids[start : start + part]], ["id", "order", "live"]
        )
        orders |= {
            str(p.payload["id"]): int(p.payload["order"]) for p in points if p.payload.get("live") == 1
        }
    return orders
