"""Laws of several processes and of DeepSpeed: a step is one step, whatever it is cut into."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
accelerate = pytest.importorskip("accelerate")

from mmrag.training import ranks  # noqa: E402


def test_only_the_last_backward_pass_may_step() -> None:
    """The wrapper of DeepSpeed steps where ``sync_gradients`` stands."""
    accelerator = accelerate.Accelerator(cpu=True)
    with pytest.raises(KeyError), ranks.without_step(accelerator, object()):
        assert not accelerator.sync_gradients
        raise KeyError
    assert accelerator.sync_gradients


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (None, FileNotFoundError, "deepspeed must be an existing JSON file"),
        ("{", ValueError, "must be DeepSpeed's JSON"),
        ("[]", ValueError, "must be DeepSpeed's JSON"),
        ('{"zero_optimization": {"stage": 3}}', ValueError, "of ZeRO stage 0, 1 or 2, got stage 3"),
    ],
)
def test_a_deepspeed_file_that_cannot_serve_is_refused(
    tmp_path: Path, text: str | None, kind: type[Exception], message: str
) -> None:
    file = tmp_path / "ds.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(kind, match=message):
        ranks.check_deepspeed(str(file))


def test_deepspeed_files_that_serve_are_let_through(tmp_path: Path) -> None:
    file = tmp_path / "ds.json"
    for text in ("{}", '{"zero_optimization": {"stage": 2}}', '{"zero_optimization": {}}'):
        file.write_text(text)
        ranks.check_deepspeed(str(file))
    ranks.check_deepspeed(None)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_deepspeed_loses_what_a_plain_run_loses(
    stage: int, tmp_path: Path, tiny_qwen: Path, toy_pairs: Callable[..., Path]
) -> None:
    pytest.importorskip("deepspeed")
    seen = []
    for name in ("plain", "deepspeed"):
        settings = {
            "stage": "contrast",
            "model": {"name": str(tiny_qwen), "budget": [2, 4], "dim": 16, "lora": None},
            "data": [{"path": str(toy_pairs())}],
            "loss": {"groups": [[1, 1], [2, 4]], "negatives": 0},
            "run": {"output": name, "steps": 3, "batch": 6, "micro_batch": 4, "warmup": 0, "log_every": 1},
        }
        if name == "deepspeed":
            settings["run"]["deepspeed"] = "ds.json"  # type: ignore[index]
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "ds.json").write_text(
        json.dumps(
            {
                "zero_optimization": {"stage": stage},
                "train_batch_size": "auto",
                "train_micro_batch_size_per_gpu": "auto",
                "gradient_clipping": "auto",
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
            }
        )
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    alone = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
    }
    for name in ("plain", "deepspeed"):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "mmrag.cli",
                "train",
                "contrast",
                "--config",
                str(tmp_path / f"{name}.yaml"),
            ],
            env={**os.environ, **alone},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        lines = json.loads((tmp_path / name / "curve.json").read_text())
        seen.append([line["loss"] for line in lines if "loss" in line])
    assert seen[1] == pytest.approx(seen[0], rel=1e-5)
