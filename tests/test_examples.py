"""Examples in docstrings: every public class and function has one, and it runs.

An example finds itself in a folder with ``report.pdf`` (two pages), ``my-index``, open as ``qa``, and
``exported/bge-small``, a text encoder; the names of `mmrag` and `discover` are imported. Lines that need a
server are skipped, and only these.
"""

from __future__ import annotations

import doctest
import inspect
import os

import pytest

import mmrag
from mmrag.documents import discover

PAGES = [
    "Net sales by region\nNet sales in Europe were 268.4 million dollars in 2024.",
    "The board\nIngrid Thorne chairs the board.",
]
ALIASES = {"Box"}
"""Types without a docstring of their own."""
NEEDS_TORCH = {"MLLMEmbedder"}
NEEDS_STRUCTURE = {"Answer", "Citation", "DocumentQA", "ExtractiveAnswerer"}  # a heading is told from a line
SERVED = {"ServedAnswerer", "ServedEmbedder", "ServedMLLMEmbedder", "ThinkReranker"}
NAMES = sorted(set(mmrag.__all__) - ALIASES)


def example_of(target):
    text = inspect.cleandoc(target.__doc__ or "")
    return doctest.DocTestParser().get_examples(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_pdf, text_encoder):
    folder = tmp_path_factory.mktemp("examples")
    (folder / "exported").mkdir()
    (folder / "exported" / "bge-small").symlink_to(text_encoder)
    make_pdf(folder / "report.pdf", PAGES)
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def world(folder):
    with mmrag.DocumentQA.open("my-index") as qa:
        qa.add("report.pdf")
        names = {name: getattr(mmrag, name) for name in mmrag.__all__}
        yield {**names, "mmrag": mmrag, "discover": discover, "qa": qa}


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example_that_runs(name, world, request):
    if name in NEEDS_STRUCTURE:
        request.getfixturevalue("structure_models")
    if name in NEEDS_TORCH:
        pytest.importorskip("torch")
    examples = example_of(getattr(mmrag, name))
    assert examples, f"{name} has no example"
    skipped = [example for example in examples if example.options.get(doctest.SKIP)]
    assert len(skipped) < len(examples) and (name in SERVED or not skipped)
    run(name, examples, world)


def run(name, examples, world):
    test = doctest.DocTest(examples, dict(world), name, None, None, None)
    report = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
