"""Laws of the contrastive trainer, on a tiny true model: it learns, resumes, and its model loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
pytest.importorskip("accelerate")

from mmrag import MLLMEmbedder  # noqa: E402
from mmrag.training.checks import last_whole_checkpoint  # noqa: E402
from mmrag.training.config import load_config  # noqa: E402
from mmrag.training.run import ContrastRun, run_stage  # noqa: E402

Write = Callable[..., Path]


def config_file(folder: Path, base: Path, data: Path, **changes: dict[str, Any]) -> Path:
    """A run of a few seconds; `changes` by section."""
    settings: dict[str, Any] = {
        "stage": "contrast",
        "model": {"name": str(base), "budget": [2, 4], "dim": 16, "lora": {"rank": 4, "dropout": 0.0}},
        "data": [{"path": str(data)}],
        "loss": {"groups": [[1, 1], [2, 4]], "negatives": 0},
        "run": {
            "output": str(folder / "out"),
            "steps": 4,
            "batch": 6,
            "micro_batch": 4,
            "learning_rate": 0.003,
            "warmup": 0,
            "save_every": 2,
            "evaluate_every": 0,
            "log_every": 1,
        },
    }
    for section, values in changes.items():
        settings[section] = {**settings.get(section, {}), **values} if isinstance(values, dict) else values
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def losses_of(output: Path) -> list[float]:
    return [line["loss"] for line in json.loads((output / "curve.json").read_text()) if "loss" in line]


def test_it_learns_the_toy_task_and_the_model_loads(
    tmp_path: Path, tiny_qwen: Path, toy_pairs: Write
) -> None:
    pairs = toy_pairs()
    file = config_file(
        tmp_path,
        tiny_qwen,
        pairs,
        run={"steps": 30, "batch": 12, "save_every": 30, "evaluate_every": 30},
        validation={"path": str(pairs), "limit": 12},
    )
    folder = run_stage("contrast", file)
    assert folder is not None
    seen = losses_of(tmp_path / "out")
    assert seen[-1] < 0.5 * seen[0]
    embedder = MLLMEmbedder.from_pretrained(folder)
    assert (embedder.dim, embedder.budget.query, embedder.budget.document) == (16, 2, 4)
    words = ["amber", "fjord"]
    queries = embedder.encode_query(words)
    pages = embedder.encode_document([f"{word} {word[::-1]}" for word in words])
    scores = [[(q @ d.T).max(1).sum() for d in pages] for q in queries]
    assert scores[0][0] > scores[0][1]
    assert scores[1][1] > scores[1][0]
    assert "mmrag train contrast" in (folder / "README.md").read_text()


def test_killed_and_resumed_gives_the_same_losses(tmp_path: Path, tiny_qwen: Path, toy_pairs: Write) -> None:
    pairs = toy_pairs(negatives=2)
    lora = {"lora": {"rank": 4, "dropout": 0.1}}  # drawn numbers must come back, too
    whole = config_file(tmp_path / "a", tiny_qwen, pairs, loss={"negatives": 2}, model=lora)
    run_stage("contrast", whole)
    first = config_file(tmp_path / "b", tiny_qwen, pairs, loss={"negatives": 2}, model=lora)
    made = ContrastRun(load_config(first))

    class KilledError(Exception):
        pass

    step = made.collator.__call__
    calls = 0

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
    run_stage("contrast", first)
    assert losses_of(tmp_path / "b" / "out") == pytest.approx(losses_of(tmp_path / "a" / "out"), rel=1e-6)


def test_finetune_learns_from_judged_negatives_and_the_judges_scores(
    tmp_path: Path, tiny_qwen: Path, toy_pairs: Write
) -> None:
    pairs = toy_pairs(negatives=3, scored=True)
    seen = {}
    for weight, by in ((0.0, "scores"), (1.0, "scores"), (1.0, "ranks")):
        folder = tmp_path / f"{weight}-{by}"
        settings = {"negatives": 3, "distil": weight, "distil_by": by, "judge_temperature": 0.3}
        file = config_file(
            folder, tiny_qwen, pairs, stage="finetune", loss=settings, run={"steps": 10, "save_every": 10}
        )
        assert run_stage("finetune", file) is not None
        seen[weight, by] = losses_of(folder / "out")
    for by in ("scores", "ranks"):
        assert seen[1.0, by][0] > seen[0.0, "scores"][0]  # the same first batch, and the distillation on top
        assert seen[1.0, by][-1] < seen[1.0, by][0]
    assert seen[1.0, "scores"][0] != seen[1.0, "ranks"][0]


def test_only_tables_projection_and_adapters_are_trained(
    tmp_path: Path, tiny_qwen: Path, toy_pairs: Write
) -> None:
    made = ContrastRun(load_config(config_file(tmp_path, tiny_qwen, toy_pairs())))
    names = {name for name, weight in made.model.named_parameters() if weight.requires_grad}
    assert {"meta.query", "meta.document", "projection.weight"} < names
    rest = names - {"meta.query", "meta.document", "projection.weight"}
    assert all(".lora_" in name and ".language_model." in name for name in rest)
    made.close()


def test_a_check_says_what_a_run_needs_and_trains_nothing(
    tmp_path: Path, tiny_qwen: Path, toy_pairs: Write
) -> None:
    told: list[str] = []
    file = config_file(tmp_path, tiny_qwen, toy_pairs())
    assert run_stage("contrast", file, check=True, say=told.append) is None
    assert any("pairs 12" in text for text in told)
    assert any("4 steps, each example 2.00 times" in text for text in told)
    assert not (tmp_path / "out").exists()


def test_missing_files_are_named_before_the_model_is_loaded(tmp_path: Path, toy_pairs: Write) -> None:
    pairs = toy_pairs()
    lines = [json.loads(text) for text in pairs.read_text().splitlines()]
    lines[3]["positives"][0]["image"] = str(tmp_path / "gone.png")
    pairs.write_text("\n".join(map(json.dumps, lines)))
    file = config_file(tmp_path, tmp_path / "no-model", pairs)
    with pytest.raises(
        FileNotFoundError, match=r"got 1 that do not; .* is .*gone.png, for the query 'q-delta'"
    ):
        run_stage("contrast", file, check=True)


def test_a_loss_that_is_no_number_stops_and_names_the_batch(
    tmp_path: Path, tiny_qwen: Path, toy_pairs: Write
) -> None:
    made = ContrastRun(load_config(config_file(tmp_path, tiny_qwen, toy_pairs())))
    with torch.no_grad():
        made.model.meta.query.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(
        FloatingPointError, match=r"must be a finite number, got nan at step 0 with the examples 'q-"
    ):
        made.train()
    made.close()


def test_a_page_beyond_its_file_is_named(
    tmp_path: Path, toy_pairs: Write, make_pdf: Callable[..., Path]
) -> None:
    document = make_pdf(tmp_path / "d.pdf", ["only page"])
    pairs = toy_pairs()
    lines = [json.loads(text) for text in pairs.read_text().splitlines()]
    lines[2]["positives"][0] |= {"path": str(document), "page": 1, "kind": "page"}
    pairs.write_text("\n".join(map(json.dumps, lines)))
    file = config_file(tmp_path, tmp_path / "no-model", pairs)
    with pytest.raises(ValueError, match=r"within its file, got page 1 \(from 0\) .* has 1, for .*q-cedar"):
        run_stage("contrast", file, check=True)


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(
    tmp_path: Path, tiny_qwen: Path, toy_pairs: Write
) -> None:
    file = config_file(tmp_path, tiny_qwen, toy_pairs(), run={"steps": 4, "save_every": 2})
    run_stage("contrast", file)
    output = tmp_path / "out"
    assert last_whole_checkpoint(output) == str(output / "checkpoint-4")
    (
        output / "checkpoint-4" / "trainer_state.json"
    ).unlink()  # what a full disk leaves: the last file is missing
    assert last_whole_checkpoint(output) == str(output / "checkpoint-2")
    before = losses_of(output)
    run_stage("contrast", file)
    assert losses_of(output) == pytest.approx(before, rel=1e-6)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, tiny_qwen: Path, toy_pairs: Write) -> None:
    from transformers import AutoTokenizer

    wrong = tmp_path / "wrong"
    shutil.copytree(tiny_qwen, wrong)
    tokenizer = AutoTokenizer.from_pretrained(wrong)
    tokenizer.add_tokens(["<one-too-many>"])
    tokenizer.save_pretrained(wrong)
    with pytest.raises(ValueError, match=r"tokenizer must be the model's own, got one with ids up to \d+"):
        ContrastRun(load_config(config_file(tmp_path, wrong, toy_pairs())))
