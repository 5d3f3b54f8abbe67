"""Laws of the generative stages on a tiny true model: stock losses, the served prompts, a stock-shaped result."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
pytest.importorskip("accelerate")

from PIL import Image, ImageDraw  # noqa: E402

from mmrag import MLLMEmbedder  # noqa: E402
from mmrag.training import losses  # noqa: E402
from mmrag.training.chat import Chat, Listener  # noqa: E402
from mmrag.training.config import load_config  # noqa: E402
from mmrag.training.generate_run import Generative  # noqa: E402
from mmrag.training.generative import counts_of, logits_of, loss_sums, weighed  # noqa: E402
from mmrag.training.run import run_stage  # noqa: E402

Write = Callable[..., Path]
CPU = torch.device("cpu")


def config_file(folder: Path, base: Path, data: Path, stage: str, **changes: dict[str, Any]) -> Path:
    """A run of a few seconds; `changes` by section."""
    settings: dict[str, Any] = {
        "stage": stage,
        "model": {"name": str(base), "lora": {"rank": 4, "dropout": 0.0}, "max_visual_tokens": 64},
        "data": [{"path": str(data)}],
        "run": {
            "output": str(folder / "out"),
            "steps": 4,
            "batch": 2,
            "micro_batch": 2,
            "learning_rate": 0.003,
            "warmup": 0,
            "save_every": 2,
            "evaluate_every": 0,
            "log_every": 1,
        },
    }
    for section, values in changes.items():
        settings[section] = {**settings.get(section, {}), **values}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def losses_of(output: Path) -> list[float]:
    return [line["loss"] for line in json.loads((output / "curve.json").read_text()) if "loss" in line]


def write_lines(file: Path, lines: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.fixture
def lessons(tmp_path: Path) -> Path:
    """Two lessons with a picture, one of words."""
    for name, colour in (("red", "red"), ("sea", "blue")):
        picture = Image.new("RGB", (96, 64), "white")
        ImageDraw.Draw(picture).rectangle((10, 10, 60, 40), fill=colour)
        picture.save(tmp_path / f"{name}.png")
    return write_lines(
        tmp_path / "lessons.jsonl",
        [
            {"image": "red.png", "prompt": "Which colour?", "response": "red"},
            {
                "image": "sea.png",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Colour?"},
                    {"role": "assistant", "content": "a deep blue"},
                ],
            },
            {"prompt": "Say it.", "response": "it"},
        ],
    )


def test_the_loss_is_the_stock_models_at_compression_1(
    tmp_path: Path, tiny_qwen: Path, lessons: Path
) -> None:
    from transformers import AutoModelForImageTextToText

    made = Generative(
        load_config(config_file(tmp_path, tiny_qwen, lessons, "restore", model={"compression": 1}))
    )
    stock = AutoModelForImageTextToText.from_pretrained(tiny_qwen).eval()
    made.model.eval()
    tasks = [task for one in made.parts[0].examples for task in made.collator.maker.validation(one)]
    logits = logits_of(made.model, tasks, pad=0, device=CPU)
    total = 0.0
    for task in tasks:
        ids = torch.tensor([task.row.ids])
        labels = torch.full_like(ids, -100)
        for at, right in zip(task.at, task.right, strict=True):
            labels[0, at + 1] = right
        seen: dict[str, Any] = {}
        if task.row.images:
            (image,) = task.row.images
            seen = {
                "pixel_values": image.pixels,
                "image_grid_thw": torch.tensor([[1, *image.grids[0]]]),
                "mm_token_type_ids": (ids == stock.config.image_token_id).int(),
            }
        with torch.no_grad():
            total += stock(input_ids=ids, labels=labels, **seen).loss.item() * len(task.at)
    count = counts_of(tasks)["words"]
    assert [len(task.at) for task in tasks] == [len("red") + 1, len("a deep blue") + 1, len("it") + 1]
    assert loss_sums(logits, tasks)["words"].item() / count == pytest.approx(total / count, rel=1e-5)
    made.close()


def test_restoring_learns_and_its_result_loads_everywhere(
    tmp_path: Path, tiny_qwen: Path, lessons: Path
) -> None:
    from transformers import AutoModelForImageTextToText

    file = config_file(
        tmp_path,
        tiny_qwen,
        lessons,
        "restore",
        model={"lora": None, "train_vision": True},  # every weight, as the paper has it
        run={"steps": 20, "batch": 3, "save_every": 20},
    )
    folder = run_stage("restore", file)
    assert folder is not None
    seen = losses_of(tmp_path / "out")
    assert seen[-1] < 0.5 * seen[0]
    stock, found = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert type(stock).__name__ == "Qwen3VLForConditionalGeneration"
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    embedder = MLLMEmbedder.from_pretrained(folder, pooling="last")
    assert embedder.encode_document(["a page"])[0].shape == (1, 64)
    contrast = load_config(file).model
    from mmrag.training.model import load_model

    model, _ = load_model(contrast)
    assert model.meta is not None
    assert "`model: name`" in (folder / "README.md").read_text()


def test_killed_and_resumed_gives_the_same_losses(tmp_path: Path, tiny_qwen: Path, toy_pairs: Write) -> None:
    pairs = toy_pairs(negatives=3)
    model = {"lora": {"rank": 2, "dropout": 0.1}}
    run_stage("rerank", config_file(tmp_path / "a", tiny_qwen, pairs, "rerank", model=model))
    second = config_file(tmp_path / "b", tiny_qwen, pairs, "rerank", model=model)
    made = Generative(load_config(second))

    class KilledError(Exception):
        pass

    step, calls = made.collator.__call__, 0

    def dying(examples: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:  # accelerate reads one batch ahead: this is in the third step, after the checkpoint
            raise KilledError
        return step(examples)

    made.collator = dying  # type: ignore[assignment]
    with pytest.raises(KilledError):
        made.train()
    made.close()
    run_stage("rerank", second)
    assert losses_of(tmp_path / "b" / "out") == pytest.approx(losses_of(tmp_path / "a" / "out"), rel=1e-6)
