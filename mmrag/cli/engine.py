"""Options of a command that reads and embeds on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from mmrag.cli.command import UsageError

if TYPE_CHECKING:
    from mmrag.ingest.cluster import RaySettings

_ray_option = partial(Option, rich_help_panel="Reading and embedding on a Ray cluster")


@dataclass(frozen=True)
class EngineOptions:
    """Which processes read and embed."""

    ray: Annotated[
        str | None,
        _ray_option(
            "--ray",
            metavar="ADDRESS",
            help="local: a cluster that is started here and ends with the command; or HOST:PORT, or auto.",
        ),
    ] = None
    readers: Annotated[
        int | None,
        _ray_option("--ray-readers", min=1, metavar="N", help="Reading processes (half of the processors)."),
    ] = None
    embedders: Annotated[
        int | None,
        _ray_option(
            "--ray-embedders",
            min=1,
            metavar="N",
            help="Embedding processes (half of the processors, or one a graphics card).",
        ),
    ] = None
    embedder_cpus: Annotated[
        float | None,
        _ray_option("--ray-embedder-cpus", min=0, metavar="N", help="Processors of each of these (1)."),
    ] = None
    embedder_gpus: Annotated[
        float | None,
        _ray_option("--ray-embedder-gpus", min=0, metavar="N", help="Graphics cards of each of these (0)."),
    ] = None
    batch_pages: Annotated[
        int | None,
        _ray_option("--ray-batch", min=1, metavar="N", help="Pages read, and embedded, together (16)."),
    ] = None

    def engine(self) -> Literal["local"] | RaySettings:
        """Return the engine of `DocumentQA.add`.

        Raises:
            UsageError: options of a cluster without one.
        """
        names = ("readers", "embedders", "embedder_cpus", "embedder_gpus", "batch_pages")
        numbers: dict[str, Any] = {name: getattr(self, name) for name in names}
        numbers = {name: value for name, value in numbers.items() if value is not None}
        if self.ray is None:
            if numbers:
                raise UsageError(
                    "--ray-readers, --ray-embedders and their like need --ray ADDRESS (or local)."
                )
            return "local"
        from mmrag.ingest.cluster import RaySettings

        return RaySettings(address=self.ray, **numbers)
