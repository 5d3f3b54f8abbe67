"""Where and with what a benchmark was run: date, machine, versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

VERSIONS = ("mmrag", "numpy", "onnxruntime", "torch", "transformers", "chromadb", "pymupdf", "numkong")


def about(command: str, versions: tuple[str, ...] = VERSIONS) -> dict[str, Any]:
    """Return what every result says of its run: command, date, machine, versions."""
    threads = os.environ.get("OMP_NUM_THREADS")
    return {
        "command": f"OMP_NUM_THREADS={threads} {command}" if threads else command,
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()},
        "python": platform.python_version(),
        "versions": {package: version for package in versions if (version := installed(package))},
    }


def processor() -> str:
    """Return what /proc/cpuinfo calls the processor, or its architecture."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] != "unknown" else platform.machine()


def installed(package: str) -> str | None:
    """Return a package's version; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
