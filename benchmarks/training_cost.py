"""Memory, work and hours of the configurations that come with the package, by formula; nothing is measured.

    python benchmarks/training_cost.py
    python benchmarks/training_cost.py --peak 989e12 --share 0.35
    python benchmarks/training_cost.py --count

The formulas stand in `benchmarks/estimate.py`. Hours are those of one GPU with the given peak (an A800's
in bfloat16, as in Magic-MM-Embedding) at the given share of it, which is assumed, for the configuration's
own steps and batch. ``--count`` counts the weights again on models without memory.
"""

from __future__ import annotations

import argparse
import json
import runpy
from pathlib import Path

from estimate import SHAPES, estimate

from mmrag.training.config import load_config, ready


def count() -> None:
    """Compare `SHAPES` with the classes of transformers."""
    import torch

    sizes = runpy.run_path(str(Path(__file__).with_name("model_sizes.py")))["MODELS"]
    names = {"qwen3-vl-2b": "Qwen3-VL-2B", "internvl3-2b": "InternVL3-2B", "internvl3-8b": "InternVL3-8B"}
    names["qwen2.5-vl-7b"] = "Qwen2.5-VL-7B"
    for key, name in names.items():
        with torch.device("meta"):
            model = sizes[name]()
        language = sum(weight.numel() for weight in model.language_model.parameters())
        whole = sum(weight.numel() for weight in model.parameters())
        embeddings = model.language_model.embed_tokens.weight.numel()
        linear = [one for one in model.language_model.layers[0].modules() if isinstance(one, torch.nn.Linear)]
        adapted = sum(one.in_features + one.out_features for one in linear)
        counted = (language - embeddings, embeddings, whole - language, adapted)
        shape = SHAPES[key]
        kept = (shape.language, shape.embeddings, shape.vision, shape.adapted)
        print(f"{key}: {counted} {'as kept' if counted == kept else f'but kept are {kept}'}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peak", type=float, default=312e12, help="operations a second (%(default)s)")
    parser.add_argument("--share", type=float, default=0.35, help="of the peak that is reached (%(default)s)")
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--json", type=Path, help="write the table as JSON")
    given = parser.parse_args()
    if given.count:
        count()
        return
    rows = []
    print("| configuration | trained, M | tokens a step | PFLOP a step | memory, GB | steps | GPU-hours |")
    print("|---|---|---|---|---|---|---|")
    for name in ready():
        config = load_config(name)
        if config.stage == "curate" or name.partition("/")[0] not in SHAPES:  # mmrag-mini runs on a CPU
            continue
        cost = estimate(config, SHAPES[name.partition("/")[0]])
        hours = cost.hours(config.run.steps, peak=given.peak, share=given.share)
        rows.append(
            {
                "configuration": name,
                "trained": cost.trained,
                "tokens": cost.tokens,
                "flop": cost.flop,
                "memory": cost.memory,
                "steps": config.run.steps,
                "hours": hours,
            }
        )
        print(
            f"| {name} | {cost.trained / 1e6:,.1f} | {cost.tokens:,} | {cost.flop / 1e15:,.2f} | "
            f"{cost.memory / 1e9:,.0f} | {config.run.steps:,} | {hours:,.0f} |"
        )
    if given.json:
        result = {"peak": given.peak, "share": given.share, "rows": rows}
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
