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
from mmrag.answer.served.reply import ReplyError, _without_fence, read_reply
from mmrag.blocks import is_footnote_mark
from mmrag.cli.snippets import snippet
from mmrag.serving.marks import MarkStream, PrintedMarks, marks
from mmrag.serving.partial_json import ThoughtFilter

def refused(content):
    try:
        read_reply(content)
    except ReplyError:
        return
    raise AssertionError(content[:20])

def rewrite(mark):
    return mark.text

def ask(words, question, blocks=()):
    from mmrag.answer import ExtractiveAnswerer
    from mmrag.blocks import Block
    from mmrag.types import Candidate, Page, Query, Ranking, Record, Source, Word
    placed = tuple(Word(word, (0.1, 0.1, 0.2, 0.12)) for word in words)
    text, source = " ".join(words), Source("0" * 64, "pdf", "a.pdf")
    for block in (None, (Block("text", text, ((0.1, 0.1, 0.2, 0.12),), words=tuple(range(len(words)))),)):
        page = Page("p", "d", 0, "1", text, placed, (1, 1), source, 1, blocks=block)
        candidate = Candidate(Record("p", None, text, page=page), 1.0, 1)
        query = Query(question)
        ExtractiveAnswerer(None, threshold=0.0).answer(query, Ranking(query, (candidate,)))

used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 10, int(used) + 12))
"""
# 200,000 characters each; what is quadratic in them takes minutes, what is cubic longer than a life.
RUNS = {
    "a fence of white space": "_without_fence('```' + '\\n' * 200_000 + 'x')",
    "a fence of spaces": "_without_fence('```json' + ' ' * 200_000 + '\\n' + ' ' * 200_000)",
    "white space before a marker": "MarkStream(rewrite).feed((' ' * 200_000) + 'x')",
    "white space inside": "MarkStream(rewrite).feed('x' + (' ' * 200_000) + 'x')",
    "open brackets": "MarkStream(rewrite).feed('[' * 200_000)",
    "open lists of numbers": "MarkStream(rewrite).feed('[1 1 1 1' * 25_000)",
    "brackets of a page": "PrintedMarks(['word [1] ' * 22_000])",
    "brackets that a page prints": "list(marks('word [1] ' * 20_000, PrintedMarks(['word [1] '])))",
    "marks in small pieces": "m = MarkStream(rewrite, PrintedMarks(['a [1] b'])); "
    "[m.feed('a [1] ') for _ in range(30_000)]",
    "a reply of braces": "refused('{' * 200_000)",
    "a reply of answers": 'read_reply(\'{"answer": "\' * 15_000)',
    "a thought in small pieces": "f = ThoughtFilter(); [f.feed('abc') for _ in range(70_000)]",
    "a quote as long as its page": "find_quote('word ' * 40_000 + 'end', ['wore'] * 40_000)",
    "a quote of a thousand letters": "find_quote('a ' * 1_000, ['a'] * 200_000)",
    "half of a page of one word": "find_quote('ab ' * 50_000 + 'a', ['ab'] * 100_000)",
    "a footnote mark that is none": "is_footnote_mark('(' * 300_000 + 'x')",
    "a snippet of hits": "snippet('1 ' * 150_000, '1')",
    "words at one place": "ask([f'word{n}' for n in range(3_000)], 'Which is word7?')",
    "sentences at one place": "ask(['It', 'is', 'so.'] * 10_000, 'Is it so?')",
    "a long question": "ask(['It', 'is', 'so.'] * 100, ' '.join(f'Name{n} of {n}' for n in range(10_000)))",
    "a long question of one kind": "ask(['It', 'is', 'so.'] * 100, 'how much more ' * 10_000)",
    "a citation of brackets": "refused('{\"answer\": \"a\\\\q\", {\"page\": ' + '[' * 200_000 + '}')",
    "a citation of open lists": 'read_reply(\'{"answer": "a", "x": {"page": \' + \'[\' * 200_000 + \'}\')',
    "citations without end": 'read_reply(\'{"answer": "a", \' + \'{"page": [[\' * 9_000)',
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
    from mmrag.answer.served.reply import _without_fence

    assert json.loads(_without_fence(fence)) == {}
    assert _without_fence("{}") == "{}"
    assert _without_fence("``` {}\n```") == "``` {}\n```"
