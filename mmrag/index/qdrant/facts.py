"""What the store is and what the index takes there, for `mmrag status`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from mmrag.index.base import StoreFacts
from mmrag.index.qdrant.opening import EDGE_SCHEME, Collections


def store_facts(collections: Collections) -> StoreFacts:
    """Ask the engine; a server does not say how many bytes a collection takes."""
    if collections.server is None:
        folder = Path(collections.address.removeprefix(EDGE_SCHEME))
        files = [file for file in folder.rglob("*") if file.is_file()]
        size = sum(file.stat().st_blocks * 512 for file in files)  # logs are sparse files
        return StoreFacts(
            collections.address,
            f"Qdrant's engine in this process, qdrant-edge-py {version('qdrant-edge-py')}",
            size,
        )
    from mmrag.index.qdrant.server import ServerCollection

    server = collections.server
    if server.url is None:
        return StoreFacts(
            collections.address, f"the local mode of qdrant-client {version('qdrant-client')}", None
        )
    number = server.call(server.client.info).version
    details = []
    for collection in (collections.pages, collections.files):
        assert isinstance(collection, ServerCollection)
        info = server.call(lambda name=collection.name: server.client.get_collection(name))  # type: ignore[misc]
        params = info.config.params
        details.append(
            f"collection {collection.name}: {info.status.value}, {info.points_count} points in "
            f"{info.segments_count} segments, {params.shard_number} shards, "
            f"{params.replication_factor} copies of each, {params.write_consistency_factor} must have a write"
        )
    return StoreFacts(collections.address, f"Qdrant {number}", None, tuple(details))
