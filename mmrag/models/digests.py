"""Digests of weights and tables, and the settings of an image processor: what a fingerprint is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor


def state_digest(tensors: Iterable[Tensor]) -> str:
    """Compute a digest of weights, whatever their names, files, device and precision; 64 hexadecimal digits.

    Each tensor is hashed as rounded to bfloat16, so the same checkpoint loaded in float32 and in bfloat16
    is the same model; the digests are sorted, so names, which differ between versions of transformers, do
    not count. A second or two of one core for each GB in bfloat16.
    """
    with ThreadPoolExecutor(4) as pool:
        digests = sorted(pool.map(_tensor_digest, list(tensors)))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def files_digest(files: Iterable[Path], is_left_out: Callable[[str], bool]) -> str:
    """Compute `state_digest` of weights in safetensors files, a tensor in memory at a time.

    Args:
        files: of one checkpoint.
        is_left_out: whether a weight of this name does not count, such as one of a head that is not used.
    """
    digests: list[str] = []
    for file in files:
        with safe_open(file, framework="pt") as weights:
            names = [name for name in weights.keys() if not is_left_out(name)]  # noqa: SIM118
            digests += [_tensor_digest(weights.get_tensor(name)) for name in names]
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _tensor_digest(tensor: Tensor) -> str:
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.to(torch.bfloat16).view(torch.int16)
    data = tensor.cpu().contiguous().numpy()
    digest = hashlib.blake2b(str(data.shape).encode(), digest_size=32)  # faster than sha256 in software
    digest.update(data.data)
    return digest.hexdigest()


def exact_digest(tensors: dict[str, Tensor]) -> str:
    """Compute a digest of the tables: by name, in full precision."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        data = tensors[name].detach().float().cpu().contiguous().numpy()
        digest.update(f"{name}{data.shape}".encode())
        digest.update(data.data)
    return digest.hexdigest()


def processor_settings(processor: Any) -> dict[str, Any]:  # noqa: ANN401  transformers'
    """Return the settings of an image processor that change pixels, as plain JSON values."""
    names = (
        "patch_size", "temporal_patch_size", "merge_size", "size", "resample", "do_rescale", "rescale_factor",
        "do_normalize", "image_mean", "image_std", "crop_to_patches", "min_patches", "max_patches",
    )  # fmt: skip
    values = processor.to_dict()
    settings: dict[str, Any] = json.loads(json.dumps({n: values.get(n) for n in names}, default=str))
    return settings
