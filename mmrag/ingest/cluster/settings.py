"""Settings of an `add` on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass

from mmrag.errors import check_whole
from mmrag.ingest.pages import BATCH_PAGES


@dataclass(frozen=True)
class RaySettings:
    """Which Ray cluster reads and embeds, and how its processors are shared out.

    Attributes:
        address: ``"HOST:PORT"`` of a cluster's head, ``"ray://HOST:PORT"`` of its client server, ``"auto"``
            for the cluster of this machine, ``"local"`` for one that is started here and ended with the call.
            None: as ``"local"``, unless this process is connected to a cluster already: that one is used.
        readers: reading processes; None: half of the cluster's processors.
        reader_cpus: processors of each.
        embedders: processes that hold the embedder; None: one a graphics card if they have any, or half of
            the cluster's processors.
        embedder_cpus: processors of each.
        embedder_gpus: graphics cards of each; a fraction shares one.
        batch_pages: pages of a document that are read together, and pages that are embedded together.
        ahead: batches that are read or embedded and not yet written, at most; None: four a process. Memory of
            the object store grows with it: a batch of 16 page pictures takes 77 MB.
        seconds: longest wait for the cluster to answer, and for the first processes to come up.

    Raises:
        ValueError: a number is out of range.
    """

    address: str | None = None
    readers: int | None = None
    reader_cpus: float = 1
    embedders: int | None = None
    embedder_cpus: float = 1
    embedder_gpus: float = 0
    batch_pages: int = BATCH_PAGES
    ahead: int | None = None
    seconds: float = 120.0

    def __post_init__(self) -> None:
        """Refuse numbers that no cluster can keep."""
        for name in ("readers", "embedders", "ahead"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        check_whole("batch_pages", self.batch_pages)
        least = {"reader_cpus": 0.0, "embedder_cpus": 0.0, "embedder_gpus": 0.0, "seconds": 1.0}
        for name, smallest in least.items():
            if not getattr(self, name) >= smallest:
                raise ValueError(f"{name} must be at least {smallest:g}, got {getattr(self, name)!r}.")

    def counts(self, cpus: float, gpus: float) -> tuple[int, int]:
        """Return the numbers of readers and of embedders on a cluster with these processors and cards."""
        embedders = self.embedders
        if embedders is None and self.embedder_gpus:
            embedders = max(1, int(gpus / self.embedder_gpus))
        elif embedders is None:
            embedders = max(1, int(cpus / 2 / max(self.embedder_cpus, 1)))
        if self.readers is not None:
            return self.readers, embedders
        return max(1, int(cpus / 2 / max(self.reader_cpus, 1))), embedders
