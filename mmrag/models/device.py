"""Resolve the folder, device and number format of a checkpoint."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import torch

from mmrag.files import weights_folder
from mmrag.machine import has_bfloat16

logger = logging.getLogger(__name__)

HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.metadata")
"""Files of a hub repository that are fetched; none that could carry code."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def resolve_folder(name: str, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """Return the folder of a checkpoint; a hub repository is fetched if it is not on this machine.

    Raises:
        FileNotFoundError: there is no such folder, or the repository is not on this machine and cannot be
            fetched.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if Path(name).name == name and (weights_folder(name) / "config.json").is_file():
        return weights_folder(name)  # "mmrag-mini"
    if not _HUB_NAME.fullmatch(name) or name.startswith("."):
        raise FileNotFoundError(
            f"a model must be a folder or a hub name like 'org/name', got {name!r}. Check the path."
        )
    return _fetch(name, revision, local_files_only=local_files_only)


def _fetch(name: str, revision: str | None, *, local_files_only: bool) -> Path:
    """Return the folder of a hub repository in the hub's cache, after fetching what is not there."""
    import httpx
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name, revision=revision, local_files_only=local_files_only, allow_patterns=list(HUB_FILES)
            )
        )
    except (OSError, ValueError, httpx.HTTPError) as error:
        reason = next(iter(str(error).strip().splitlines()), repr(error))
        raise FileNotFoundError(
            f"{name!r} must be a folder here, in the hub's cache, or on a hub that answers, got: {reason} "
            f"Fetch it where there is a network (hf download {name}) and pass that folder, or set HF_HOME to "
            "the cache that has it; to download, HF_HUB_OFFLINE and local_files_only must be off."
        ) from error


def pick_device(device: str) -> torch.device:
    """Return the device of a name; ``"auto"``: CUDA, then MPS, then the CPU.

    Raises:
        ValueError: there is no such device here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch_device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps', got {device!r}."
        ) from error
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(torch_device.type, False):
        raise ValueError(f"device must be one that this machine has, got {device!r}. Use 'auto' or 'cpu'.")
    return torch_device


def pick_dtype(dtype: str | torch.dtype, default: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the number format of a name; ``"auto"``: the checkpoint's own.

    On a CPU ``"auto"`` gives no float16, and bfloat16 only where the processor computes in it: elsewhere it
    is slower than float32.

    Raises:
        ValueError: no such format, or float16 on a CPU.
    """
    if dtype == "auto":
        if device.type == "cpu" and default in (torch.float16, torch.bfloat16):
            return torch.bfloat16 if has_bfloat16() else torch.float32
        return default
    torch_dtype = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if torch_dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"dtype must be 'auto', 'float32', 'bfloat16' or 'float16', got {dtype!r}.")
    if torch_dtype == torch.float16 and device.type == "cpu":
        raise ValueError("dtype must not be float16 on a CPU (it is slow there and overflows), got float16. "
                         "Use 'auto', 'bfloat16' or 'float32'.")  # fmt: skip
    return torch_dtype
