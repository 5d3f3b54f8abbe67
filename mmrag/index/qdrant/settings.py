"""How a collection is made and how a server is talked to: what is passed through, with defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mmrag.errors import check_whole

NumberType: TypeAlias = Literal["float16", "float32"]
Quantization: TypeAlias = Literal["int8"]
Ordering: TypeAlias = Literal["weak", "medium", "strong"]
Consistency: TypeAlias = int | Literal["majority", "quorum", "all"]


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """How a new collection is made; one that is there keeps what it has.

    Attributes:
        vectors: type of the numbers of the vectors that find; what is scored in the end are the stored rows.
        quantization: ``"int8"``: the engine also keeps its vectors in int8 and in memory, looks there first
            and ranks the best of them anew with the vectors themselves. None: it does not.
        oversampling: how many times more it ranks anew than it hands on.
        shards: of the collection; None: the server's default, one a node. It cannot be changed later without
            copying: take two a node that you will ever have.
        replicas: copies of each shard; 2 or more survive the loss of a node.
        write_consistency: copies that must have taken a write before it counts as done.
        on_disk: whether vectors and payload lie on disk and are read through the page cache; from some
            hundred thousand pages on, or where memory is dear.
        hnsw_m: edges a point of the graph over ``b1``; 0: no graph, every search looks at every point.
    """

    vectors: NumberType = "float16"
    quantization: Quantization | None = None
    oversampling: float = 2.0
    shards: int | None = None
    replicas: int = 1
    write_consistency: int = 1
    on_disk: bool = True
    hnsw_m: int = 16

    def __post_init__(self) -> None:
        """Refuse settings that no collection can have."""
        if self.vectors not in ("float16", "float32"):
            raise ValueError(f"vectors must be 'float16' or 'float32', got {self.vectors!r}.")
        if self.quantization not in (None, "int8"):
            raise ValueError(f"quantization must be 'int8' or None, got {self.quantization!r}.")
        if not self.oversampling >= 1:
            raise ValueError(f"oversampling must be at least 1, got {self.oversampling!r}.")
        if self.shards is not None:
            check_whole("shards", self.shards, hint="None leaves it to the server.")
        check_whole("replicas", self.replicas)
        check_whole("write_consistency", self.write_consistency, 1, self.replicas)
        check_whole("hnsw_m", self.hnsw_m, 0)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server is talked to.

    Attributes:
        grpc: whether searches and writes go over gRPC, at `grpc_port`.
        grpc_port: of the same host.
        timeout: seconds for a request.
        retries: how often a request that the server could not take is sent again: 429, 500, 502, 503, 504, no
            connection, a connection that was cut. Every request may be, since ids say where it writes.
        parallel: requests of one call that are on their way at once.
        batch_bytes: about the size of a writing request.
        write_ordering: see Qdrant: "weak", "medium", "strong".
        read_consistency: see Qdrant: a number of replicas, or "majority", "quorum", "all"; None: one.
    """

    grpc: bool = False
    grpc_port: int = 6334
    timeout: float = 30.0
    retries: int = 4
    parallel: int = 4
    batch_bytes: int = 8 << 20
    write_ordering: Ordering | None = None
    read_consistency: Consistency | None = None

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        check_whole("grpc_port", self.grpc_port, 1, 65535)
        if not 0 < self.timeout < 86400:
            raise ValueError(f"timeout must be seconds above 0, got {self.timeout!r}.")
        check_whole("retries", self.retries, 0)
        check_whole("parallel", self.parallel)
        check_whole(
            "batch_bytes", self.batch_bytes, 1 << 16, 31 << 20, hint="A server takes 32 MB by default."
        )
