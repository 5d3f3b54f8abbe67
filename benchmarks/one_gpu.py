"""Train, embed and serve on one GPU in eight minutes, on weights that are here or drawn; nothing is fetched.

    python benchmarks/one_gpu.py --to one-gpu.json --python .venv-vllm/bin/python
    python benchmarks/one_gpu.py --to one-gpu.json --parts training,local --minutes 4
    python benchmarks/one_gpu.py --to small.json --small        # tiny, on a processor: does it run

It needs a checkout with the extra ``train`` and reportlab, and for the last part a Python with vLLM. Parts:

* ``training``: mmrag-mini's contrast training (``mmrag-mini/contrast``) from its own weights on questions and
  pages that ``scripts/make_packs.py`` draws, at the configuration's batch and at the full one, which is all
  pairs at once;
* ``local``: Qwen3-VL-2B of random weights and the true class, one page a forward pass and eight, compressed
  and not (``benchmarks/compression.py``);
* ``served``: the same model served by vLLM and in this process by turns, compressed and not
  (``benchmarks/served_rows.py``).

Weights of the last two are random and the questions of the first are by template: what is measured is time,
memory and that it works, not quality. Each part is a process of its own and has its share of the minutes, and
of what those before it left. The file is written after every part and has whole figures alone; what had no
time, or failed, stands under ``left_out`` with the reason; with ``--small`` that ends in an error, too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import VERSIONS, about

SHARES: Mapping[str, float] = {"training": 1.0, "local": 1.0, "served": 2.0}
"""The parts in their order, with their share of the time."""
GRACE = 25.0
"""Seconds of the whole that are kept for a server to end in order."""
LEAST = 10.0
"""A part is not begun with fewer seconds."""
LOCAL_PAGES = (1, 8)
"""Pages of a forward pass."""
Row = dict[str, Any]


# ---- the parts, each in a process of its own --------------------------------------------------------------


def training(options: argparse.Namespace, until: float) -> Iterator[Row]:
    """Yield the figures of mmrag-mini's contrast training at two batches."""
    from one_gpu_training import SMALL, Plan, rows

    plan = SMALL if options.small else Plan(micro_batch=options.micro_batch)
    yield from rows(plan, options.device, options.dtype, until - time.monotonic())


def local(options: argparse.Namespace, until: float) -> Iterator[Row]:
    """Yield the figures of forward passes of a page and of several."""
    import compression

    for number, pages in enumerate(LOCAL_PAGES):
        flags = {"--shape": "2b", "--page": "896 896", "--repeats": "10"}
        if options.small:
            flags = {"--shape": "small", "--page": "224 224", "--repeats": "1"}
        flags |= {"--family": "qwen3_vl", "--rows": "64", "--pages": str(pages)}
        flags |= {"--device": options.device, "--dtype": options.dtype}
        given = compression.arguments().parse_args(words_of(flags))
        end = time.monotonic() + (until - time.monotonic()) / (len(LOCAL_PAGES) - number)
        backbone, settings = compression.settings_of(given)
        known_memory = compression.measure(given, backbone, settings, end)
        if not settings[-1].seconds:
            raise TimeoutError(f"{pages} pages a forward pass: no whole round in time")
        yield compression.figures(given, backbone, settings, known_memory) | {
            "rounds": len(settings[-1].seconds),
            "pixels_ms": settings[0].pixels_ms,
        }


def served(options: argparse.Namespace, until: float) -> Iterator[Row]:
    """Yield the figures of the embedder behind vLLM and in process, at compression 2 and at 1."""
    import served_rows

    from mmrag.serving.vllm.facts import find_vllm

    python = find_vllm(options.python)
    flags = {"--shape": "2b", "--pages": "64", "--rounds": "3", "--in-flight": "16", "--tokens": "1280"}
    if options.small:
        flags = {"--shape": "small", "--pages": "2", "--rounds": "1"}
    flags |= {"--python": options.python, "--dtype": options.dtype}
    given = served_rows.arguments().parse_args(words_of(flags))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "random"
        served_rows.write_checkpoint(folder, given.shape, given.dtype)
        longest, compressed = 0.0, {}
        for factor in (2, 1):
            began = time.monotonic()
            if began + longest > until:
                raise TimeoutError(f"compression {factor}: the one before took {longest:.0f} s")
            given.wait = until - began
            figures = served_rows.measured(folder, factor, given)
            longest = time.monotonic() - began
            figures |= {"shape": given.shape, "pages": given.pages, "vllm": python.version}
            if compressed:
                figures["compressed_to_this"] = {
                    name: compressed[name] / figures[name] for name in ("served", "local")
                }
            compressed = figures
            yield figures


def words_of(flags: Mapping[str, str]) -> list[str]:
    """Return options and their values as words of a command."""
    return [word for name, value in flags.items() for word in (name, *value.split(" "))]


PARTS: Mapping[str, Callable[[argparse.Namespace, float], Iterator[Row]]] = {
    "training": training,
    "local": local,
    "served": served,
}


def run_part(options: argparse.Namespace) -> int:
    """Run a part in this process; its file has every row as soon as it is whole."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it was ended"))  # so that a server is ended, too
    rows: list[Row] = []
    for row in PARTS[options.part](options, time.monotonic() + options.seconds):
        rows.append(row)
        write(options.to, rows)
    return 0


# ---- the whole --------------------------------------------------------------------------------------------


def share(left: float, part: str, remaining: Sequence[str]) -> float:
    """Return the seconds of a part out of those that are left for it and the parts after it."""
    return max(left, 0.0) * SHARES[part] / sum(SHARES[name] for name in remaining)


def call_part(command: Sequence[str], file: Path, seconds: float, visible: str) -> Row:
    """Run a part's process for at most these seconds; returns its rows, and why there are no more of them.

    Args:
        command: of the process.
        file: where it writes its rows.
        seconds: a process that is not done by then is ended.
        visible: the GPUs that it sees, as ``CUDA_VISIBLE_DEVICES`` says it.
    """
    began, reason = time.monotonic(), ""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            reason = f"ended after {seconds:.0f} s"
        finally:
            end(process)
        log.seek(0)
        if not reason and code:
            reason = reason_of(log.read()) or f"it ended with {code}"
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    left_out = {"left_out": reason} if reason else {}
    return {"seconds": round(time.monotonic() - began, 1), "rows": rows, **left_out}


def reason_of(log: str) -> str:
    """Return the last error that a process told, or its last line."""
    lines = log.strip().splitlines()
    errors = [at for at, line in enumerate(lines) if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
    return "\n".join(lines[errors[-1] if errors else -1 :])[:1000]


def end(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """End a process of our own, in order and then at once."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def write(file: Path, value: Any) -> None:
    """Write JSON; a kill leaves the old file or the new one."""
    scratch = file.with_name(f".{file.name}.part")
    scratch.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    scratch.replace(file)


def device_facts(device: str) -> Row:
    """Return what is known of the device."""
    import torch

    if device == "cpu":
        return {"name": device, "threads": torch.get_num_threads()}
    facts = torch.cuda.get_device_properties(device)
    return {
        "name": facts.name,
        "memory_gib": round(facts.total_memory / 2**30, 1),
        "capability": f"{facts.major}.{facts.minor}",
        "cuda": torch.version.cuda,
    }


def arguments() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", "--json", dest="to", type=Path, required=True, help="write the figures here")
    parser.add_argument("--parts", type=parts_of, default=tuple(SHARES), help=f"of {','.join(SHARES)}")
    parser.add_argument("--minutes", type=float, default=8.0, help="of all parts together (%(default)s)")
    parser.add_argument("--python", default=sys.executable, help="a Python that has vLLM and mmrag")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="bfloat16 on a GPU")
    parser.add_argument("--micro-batch", type=int, default=64, help="of the training at the full batch")
    parser.add_argument("--small", action="store_true", help="tiny, on a processor: does it run")
    parser.add_argument("--part", choices=tuple(SHARES), help=argparse.SUPPRESS)  # of a part's own process
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    return parser


def parts_of(text: str) -> tuple[str, ...]:
    """Return the parts named, in their order."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in SHARES]:
        raise argparse.ArgumentTypeError(f"parts must be of {','.join(SHARES)}, got {','.join(unknown)}")
    return tuple(name for name in SHARES if name in names)


def command_of(options: argparse.Namespace, part: str, file: Path, seconds: float) -> list[str]:
    """Return the command of a part's process."""
    told = {"--part": part, "--to": str(file), "--seconds": f"{seconds:.1f}", "--python": options.python}
    told |= {"--dtype": options.dtype, "--micro-batch": str(options.micro_batch)}
    words = [word for pair in told.items() for word in pair]
    return [sys.executable, str(Path(__file__).resolve()), *words, *(["--small"] if options.small else [])]


def main(given: Sequence[str] | None = None) -> int:
    """Command line."""
    began = time.monotonic()
    options = arguments().parse_args(given)
    options.device = "cpu" if options.small else "cuda"
    options.dtype = options.dtype or ("float32" if options.small else "bfloat16")
    if options.part:
        return run_part(options)
    import torch

    if not options.small and not torch.cuda.is_available():
        sys.exit("one_gpu.py needs a GPU, got none that torch sees. --small runs it on a processor, tiny.")
    shown = [word if not word.startswith("/") else Path(word).name for word in given or sys.argv[1:]]
    result = about(
        f"python benchmarks/one_gpu.py {' '.join(shown)}", (*VERSIONS, "accelerate", "peft", "vllm")
    )
    result |= {"device": device_facts(options.device), "dtype": options.dtype, "minutes": options.minutes}
    result |= {"small": options.small, "parts": {}}
    # One GPU, where there are several: the training would spread over all.
    visible = "" if options.small else os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    remaining = list(options.parts)
    with tempfile.TemporaryDirectory() as scratch:
        while remaining:
            part, file = remaining[0], Path(scratch) / f"{remaining[0]}.json"
            left = 60 * options.minutes - GRACE - (time.monotonic() - began)
            seconds = share(left, part, remaining)
            if seconds < LEAST:
                figures: Row = {"seconds": 0.0, "rows": [], "left_out": f"{seconds:.0f} s were left for it"}
            else:
                # The process is told of less than it has: its last row is to be whole.
                command = command_of(options, part, file, 0.85 * seconds)
                figures = call_part(command, file, seconds, visible)
            result["parts"][remaining.pop(0)] = figures
            write(options.to, result)
            print(f"{part:9} {figures['seconds']:6.1f} s, rows {len(figures['rows'])}", end="", flush=True)
            print(f", left out: {figures['left_out']}" if "left_out" in figures else "", flush=True)
    left_out = any("left_out" in figures for figures in result["parts"].values())
    return int(options.small and left_out)


if __name__ == "__main__":
    raise SystemExit(main())
