"""The model card of a trained checkpoint, and the curves of its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mmrag
from mmrag.files import atomic_write
from mmrag.training.config import TrainConfig

RETRIEVER = "Load it with `MLLMEmbedder.from_pretrained(folder)`."


CARD = """# {title}

Trained from `{base}` by `mmrag train {stage}` (mmrag {version}). {usage}

## Data

| sub-dataset | examples |
|---|---|
{data}

Say here where these come from and under which licence.

## Validation

| step | {metrics} |
|---|---|
{evaluations}

{curves}
## Settings

| setting | value |
|---|---|
{settings}
"""
PRIVATE_SETTINGS = frozenset({"output", "path"})  # folders of the machine that trained


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
    cutoff = config.validation.cutoff if config.validation else 5
    evaluations = [entry for entry in history if any(name.startswith("eval_") for name in entry)]
    card = CARD.format(
        title=folder.parent.name,
        base=Path(config.model.name).name,
        stage=config.stage,
        version=mmrag.__version__,
        usage=usage,
        data="\n".join(f"| {name} | {count:,} |" for name, count in examples.items()),
        metrics=f"nDCG@{cutoff}" if usage == RETRIEVER else f"loss; nDCG@{cutoff} where pages are judged",
        evaluations="\n".join(map(_row, evaluations)) or "| (no validation pairs were given) | |",
        curves="![curves](curves.png)\n" if has_curves else "",
        settings="\n".join(_settings(config)),
    )
    with atomic_write(folder / "README.md") as file:
        file.write(card)


def _settings(config: TrainConfig) -> Iterator[str]:
    """Yield a row of the card's table per setting."""
    for section, values in config.model_dump().items():
        if isinstance(values, Mapping):
            for name, value in values.items():
                if name not in PRIVATE_SETTINGS:
                    yield f"| {section}.{name} | {value} |"


def _row(entry: Mapping[str, Any]) -> str:
    """Return a row of the card's table of evaluations."""
    values = ", ".join(
        f"{name.removeprefix('eval_').removeprefix('ndcg_').replace('_', ',')}: {value:.3f}"
        for name, value in entry.items()
        if name.startswith("eval_ndcg") or name == "eval_loss"
    )
    return f"| {entry.get('step', '')} | {values} |"


def save_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> bool:
    """Plot loss and validation over the steps; return False if there is no matplotlib or no entry to plot."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        return False
    names = sorted({name for entry in history for name in entry if _is_plotted(name)})
    if not names:
        return False
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
    _draw_curves(axes, names, history)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _draw_curves(axes: Sequence[Any], names: Sequence[str], history: Sequence[Mapping[str, Any]]) -> None:
    """Draw losses on the left of two axes, other values on the right."""
    left, right = axes
    for name in names:
        points = [(entry["step"], entry[name]) for entry in history if name in entry]
        axis = left if name.endswith("loss") else right
        label = "validation loss" if name == "eval_loss" else name.removeprefix("eval_")
        axis.plot(*zip(*points, strict=True), marker=".", label=label)
    for axis, title in ((left, "loss"), (right, "validation nDCG")):
        axis.set_title(title)
        axis.set_xlabel("step")
        if axis.lines:
            axis.legend()


def _is_plotted(name: str) -> bool:
    return name in ("loss", "eval_loss") or name.startswith("eval_ndcg")
