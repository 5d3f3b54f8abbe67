"""Work on what a model writes grows with its length and no faster: each runs under a bound of time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mmrag

LIMITED = """
import resource, sys
from mmrag.answer.quotes import find_quote
from mmrag.answer.served.checked import AnswerReader, _without_fence
from mmrag.answer.served.partial_json import Markers, ThoughtFilter

used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 10, int(used) + 12))
"""
# 200,000 characters each; what is quadratic in them takes minutes, what is cubic longer than a life.
RUNS = {
    "a fence of white space": "_without_fence('```' + '\\n' * 200_000 + 'x')",
    "a fence of spaces": "_without_fence('```json' + ' ' * 200_000 + '\\n' + ' ' * 200_000)",
    "white space before a marker": "Markers(lambda n: n).feed((' ' * 200_000) + 'x')",
    "white space inside": "Markers(lambda n: n).feed('x' + (' ' * 200_000) + 'x')",
    "open brackets": "Markers(lambda n: n).feed('[' * 200_000)",
    "open lists of numbers": "Markers(lambda n: n).feed('[1 1 1 1' * 25_000)",
    "a thought in small pieces": "f = ThoughtFilter(); [f.feed('abc') for _ in range(70_000)]",
    "a quote as long as its page": "find_quote('word ' * 40_000 + 'end', ['wore'] * 40_000)",
    "a quote of one letter": "find_quote('a', ['a'] * 100_000)",
}


@pytest.mark.parametrize("name", RUNS)
def test_work_is_bounded_by_length(name: str) -> None:
    pytest.importorskip("resource", reason="this system has no limits of processor time")
    code = LIMITED + RUNS[name]
    environment = {"PYTHONPATH": str(Path(mmrag.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-500:]}"


@pytest.mark.parametrize(
    "fence", ["```json\n{}\n```", "```JSON  \n{}\n  ```", "```\n{}```", "```\n\n{}\n\n```"]
)
def test_a_fence_is_taken_off(fence: str) -> None:
    from mmrag.answer.served.checked import _without_fence

    assert json.loads(_without_fence(fence)) == {}
    assert _without_fence("{}") == "{}"
    assert _without_fence("``` {}\n```") == "``` {}\n```"
