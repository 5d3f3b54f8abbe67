"""Real vLLM servers on the CPU for the tests of this folder: ``make test-vllm``.

Every test in here gets the marker ``vllm`` and is left out of the ordinary run. A test that names one of
the fixtures in `SERVERS` finds that server up. Only one is up at a time (each takes about 3.5 GB), so tests
are sorted by the server they use, and a test that names two of them is refused.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mmrag.serving.vllm import ServePlan, ServerProcess, plan_server
from mmrag.serving.vllm.facts import find_vllm, read_facts
from mmrag.serving.vllm.process import free_port

PROJECT = Path(__file__).resolve().parents[2]
ENVIRONMENT = PROJECT / ".venv-vllm"
START_SECONDS = 600.0
KEEPER = pytest.StashKey["Keeper"]()
SERVERS = ("tiny_vl_server", "tiny_pooling_server", "rows_server", "tiles_server", "smol_server")

SMALL = ("--enforce-eager", "--max-num-seqs", "8")  # no compiling, which costs more than it saves here
# name -> model folder, mode of `mmrag serve`, further arguments for vLLM
RECIPES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # float32: scores are compared with those of transformers on the same weights. The reasoning parser is
    # off because these random weights never close a thought.
    "tiny_vl_server": ("tiny-qwen3-vl", "answer", ("--dtype", "float32", "--max-model-len", "8192")),
    "tiny_pooling_server": ("tiny-qwen3-vl", "rerank", ("--dtype", "float32", "--max-model-len", "8192")),
    # a few tokens a step, so that long inputs are read in pieces
    "rows_server": (
        "qwen3_vl",
        "embed",
        ("--dtype", "float32", "--max-num-batched-tokens", "512", "--enable-chunked-prefill"),
    ),
    "tiles_server": ("internvl", "embed", ("--dtype", "float32")),
    "smol_server": ("smollm2-135m", "answer", ("--dtype", "bfloat16", "--max-model-len", "4096")),
}


@dataclass(frozen=True)
class LiveServer:
    """A server that is up: where it answers, what it serves, and the folder with the same weights."""

    url: str
    model: str
    model_dir: Path
    log: Path


def vllm_python_path() -> Path:
    named = os.environ.get("MMRAG_VLLM_PYTHON")
    return Path(named) if named else ENVIRONMENT / "bin" / "python"


def models_folder() -> Path:
    """``models`` of the environment of the Python in use: a link to a system Python is not followed."""
    return vllm_python_path().parent.parent / "models"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.vllm)
        if len(_named(item)) > 1:
            raise pytest.UsageError(f"{item.nodeid} names {_named(item)}: only one server is up at a time")
    # The tests that need none come first; the sort is stable, so files stay together otherwise.
    order = iter(sorted(here, key=lambda item: [SERVERS.index(name) for name in _named(item)]))
    places = {id(item) for item in here}
    items[:] = [next(order) if id(item) in places else item for item in items]


def _named(item: pytest.Item) -> list[str]:
    names = getattr(item, "fixturenames", ())
    return [name for name in SERVERS if name in names]


class Keeper:
    """Holds the one server that is up, and stops it when another is wanted or the tests end."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.process: ServerProcess | None = None

    def start(self, name: str) -> LiveServer:
        self.stop()
        folder, plan = _plan(name)
        log = self.logs / f"{name}.log"
        self.process = ServerProcess(plan, log)
        self.process.start()
        seconds = self.process.wait_ready(START_SECONDS)
        print(f"\n{name}: ready after {seconds:.0f} s, log in {log}")
        return LiveServer(plan.url, plan.model, folder, log)

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
        self.process = None


@functools.cache
def rows_checkpoint(family: str) -> Path:
    """A checkpoint of ours on a tiny backbone: random tables, a projection, compression 2."""
    import torch

    from mmrag.models.mllm_embedder import MLLMEmbedder
    from mmrag.types import Budget

    folder = Path(tempfile.mkdtemp(prefix="mmrag-rows-")) / f"tiny-{family}"
    embedder = MLLMEmbedder.from_pretrained(
        models_folder() / "tiny-qwen3-vl" if family == "qwen3_vl" else tiny_internvl(folder.parent / "plain"),
        allow_untrained=True,
        budget=Budget(16, 64),
        dim=64,
        max_visual_tokens=80,
        dtype="float32",
    )
    with torch.no_grad():
        for weight in embedder.model.backbone.model.parameters():
            if weight.ndim > 1 and family == "qwen3_vl":
                weight.mul_(6)  # wide enough that rows depend on the picture by far more than rounding
    embedder.save_pretrained(folder)
    # room for the longest input beside the meta tokens, which the real models have by far
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 16384
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def tiny_internvl(folder: Path) -> Path:
    """A tiny InternVL with heads of a width that vLLM's attention takes on a CPU: half as many, 32 wide."""
    from mmrag.models.tiny import make_tiny

    make_tiny(folder, "internvl")
    config = json.loads((folder / "config.json").read_text())
    text = config["text_config"]
    for name in ("num_attention_heads", "num_key_value_heads"):
        text[name] //= 2
    text["head_dim"] = 32
    assert text["hidden_size"] == 32 * text["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _plan(name: str) -> tuple[Path, ServePlan]:
    model, mode, extra = RECIPES[name]
    folder = rows_checkpoint(model) if name in ("rows_server", "tiles_server") else models_folder() / model
    plan = plan_server(
        str(folder),
        read_facts(folder),
        find_vllm(str(vllm_python_path())),
        mode=mode,
        port=free_port(),
        extra=(*SMALL, *extra),
    )
    # One core's worth of threads and 1 GiB of cache: the tests' prompts are short.
    small = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return folder, replace(plan, environment={**plan.environment, **small})


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The Python of the environment that has vLLM; also the one with a transformers that can see."""
    path = vllm_python_path()
    if not path.exists():
        pytest.fail(f"{path} is not there. Make it: make vllm. Or name a Python with MMRAG_VLLM_PYTHON.")
    return path


@pytest.fixture(scope="session")
def vllm_models(vllm_python: Path) -> Path:
    """The folder of the test models: ``tiny-qwen3-vl`` and ``smollm2-135m``."""
    folder = models_folder()
    if not (folder / "tiny-qwen3-vl" / "config.json").is_file():
        pytest.fail(f"{folder} has no test models. Make them: make vllm.")
    return folder


@pytest.fixture(scope="session")
def vllm_keeper(
    request: pytest.FixtureRequest, vllm_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keeper]:
    """Starts and stops the servers; for tests that start one of their own: call ``stop()`` first."""
    keeper = Keeper(tmp_path_factory.mktemp("vllm-logs"))
    request.config.stash[KEEPER] = keeper
    yield keeper
    keeper.stop()


@pytest.fixture(scope="session")
def tiny_vl_server(vllm_keeper: Keeper) -> LiveServer:
    """A tiny random Qwen3-VL that chats: pictures, log-probabilities, structured outputs; float32."""
    return vllm_keeper.start("tiny_vl_server")


@pytest.fixture(scope="session")
def tiny_pooling_server(vllm_keeper: Keeper) -> LiveServer:
    """The same weights served as Qwen3-VL-Reranker is: ``/rerank`` and ``/score``, also of pictures."""
    return vllm_keeper.start("tiny_pooling_server")


@pytest.fixture(scope="session")
def rows_server(vllm_keeper: Keeper) -> LiveServer:
    """A checkpoint of ours with compression and meta tokens, by mmrag's plugin."""
    return vllm_keeper.start("rows_server")


@pytest.fixture(scope="session")
def tiles_server(vllm_keeper: Keeper) -> LiveServer:
    """The same of the other backbone, InternVL3's, whose pictures are cut into tiles."""
    return vllm_keeper.start("tiles_server")


@pytest.fixture(scope="session")
def smol_server(vllm_keeper: Keeper) -> LiveServer:
    """SmolLM2-135M-Instruct: real words."""
    return vllm_keeper.start("smol_server")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Show the end of the server's log below a failure."""
    report = yield
    keeper = item.config.stash.get(KEEPER, None)
    if report.failed and keeper is not None and keeper.process is not None:
        ended = keeper.process.poll()
        state = "still running" if ended is None else f"ended with {ended}"
        report.sections.append((f"end of the vLLM server's log ({state})", keeper.process.tail(40)))
    return report
