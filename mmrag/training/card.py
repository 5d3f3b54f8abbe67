"""The model card of a trained checkpoint, and the curves of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmrag
from mmrag.training.config import TrainConfig

RETRIEVER = "Load it with `MLLMEmbedder.from_pretrained(folder)`."


def write_card(
    folder: Path,
    config: TrainConfig,
    history: Sequence[Mapping[str, Any]],
    examples: Mapping[str, int],
    *,
    usage: str = RETRIEVER,
) -> None:
    """Write ``README.md`` into a checkpoint's folder, and ``curves.png`` if matplotlib is installed.

    Args:
        folder: of the checkpoint.
        config: of the run.
        history: log entries of `transformers.Trainer`.
        examples: number per sub-dataset.
        usage: sentence that says what to do with the model.
    """
    has_curves = save_curves(folder / "curves.png", history)
    data = "\n".join(f"| {name} | {count:,} |" for name, count in examples.items())
    settings = "\n".join(
        f"| {section}.{name} | {value} |"
        for section, values in config.model_dump().items()
        if isinstance(values, Mapping)
        for name, value in values.items()
        if name not in {"output", "path"}
    )
    evaluations = [entry for entry in history if any(name.startswith("eval_") for name in entry)]
    rows = "\n".join(_row(entry) for entry in evaluations) or "| (no validation pairs were given) | |"
    cutoff = config.validation.cutoff if config.validation else 5
    measure = f"loss; nDCG@{cutoff} where pages are judged" if usage != RETRIEVER else f"nDCG@{cutoff}"
    curves = "![curves](curves.png)\n" if has_curves else ""
    name = Path(config.model.name).name
    (folder / "README.md").write_text(
        f"""# {folder.parent.name}

Trained from `{name}` by `mmrag train {config.stage}` (mmrag {mmrag.__version__}). {usage}

## Data

| sub-dataset | examples |
|---|---|
{data}

Say here where these come from and under which licence.

## Validation

| step | {measure} |
|---|---|
{rows}

{curves}
## Settings

| setting | value |
|---|---|
{settings}
""",
        encoding="utf-8",
    )


def _row(line: Mapping[str, Any]) -> str:
    values = ", ".join(
        f"{name.removeprefix('eval_').removeprefix('ndcg_').replace('_', ',')}: {value:.3f}"
        for name, value in line.items()
        if name.startswith("eval_ndcg") or name == "eval_loss"
    )
    return f"| {line.get('step', '')} | {values} |"


def save_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> bool:
    """Plot loss and validation over the steps; return False if there is no matplotlib or no entry to plot."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        return False
    names = sorted(
        {
            name
            for line in history
            for name in line
            if name in ("loss", "eval_loss") or name.startswith("eval_ndcg")
        }
    )
    if not names:
        return False
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
    for name in names:
        points = [(line["step"], line[name]) for line in history if name in line]
        axis = left if name.endswith("loss") else right
        label = "validation loss" if name == "eval_loss" else name.removeprefix("eval_")
        axis.plot(*zip(*points, strict=True), marker=".", label=label)
    for axis, title in ((left, "loss"), (right, "validation nDCG")):
        axis.set_title(title)
        axis.set_xlabel("step")
        if axis.lines:
            axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
