"""Draw questions of a pack by a field of their lines, and print their ids, one a line.

    python benchmarks/draw_questions.py PACK --take FIELD=VALUE:COUNT ... --seed 17 > questions.txt
    mmrag evaluate PACK --answers-only --questions questions.txt

VALUE is compared as JSON if it is JSON (``core=true``), else as a string; ``A=B&C=D`` wants both. A
question is drawn once; each draw is from the questions that are left. The same seed draws the same ids from
the same file.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrag.files import read_json_lines


def draw(lines: Sequence[Mapping[str, Any]], takes: Sequence[str], seed: int) -> list[str]:
    """Ids drawn by every ``FIELD=VALUE:COUNT``, each take in the order of the file."""
    rng = random.Random(seed)
    ids: list[str] = []
    for take in takes:
        condition, _, count = take.rpartition(":")
        wanted = {
            field: value_of(text) for field, _, text in (c.partition("=") for c in condition.split("&"))
        }
        candidates = [x["id"] for x in lines if x["id"] not in ids and is_like(x, wanted)]
        if not count.isdecimal() or len(candidates) < int(count):
            raise SystemExit(
                f"--take must be FIELD=VALUE:COUNT with at most as many as there are, got {take!r}, and "
                f"{len(candidates)} questions with {condition}."
            )
        chosen = set(rng.sample(candidates, int(count)))
        ids += [name for name in candidates if name in chosen]
    return ids


def is_like(line: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a line has each of these values."""
    return all(line.get(field) == value for field, value in wanted.items())


def value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--take", action="append", required=True, metavar="FIELD=VALUE:COUNT")
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args(arguments)
    lines = [value for _, value in read_json_lines(options.pack / "queries.jsonl", "question")]
    takes = " ".join(f"--take {shlex.quote(take)}" for take in options.take)
    print(f"# python benchmarks/draw_questions.py {options.pack.name} {takes} --seed {options.seed}")
    sys.stdout.writelines(f"{name}\n" for name in draw(lines, options.take, options.seed))


if __name__ == "__main__":
    main()
