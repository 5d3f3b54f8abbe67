"""Examples in docstrings: every public class and function has one, and it runs.

An example finds itself in a folder with ``report.pdf`` (two pages) and ``my-index``, which holds it; the
public names of all six packages are imported, and three of the host.
"""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.vector_stores import VectorStoreQuery

from mmrag import DocumentQA

LEAVES = ("embeddings", "postprocessor", "query_engine", "readers", "retrievers", "vector_stores")
PAGES = ("Net sales in Europe were 268.4 million dollars in 2024.", "Ingrid Thorne chairs the board.")


def public_names():
    modules = [importlib.import_module(f"llama_index.{leaf}.mmrag") for leaf in LEAVES]
    return {name: getattr(module, name) for module in modules for name in module.__all__}


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_pdf):
    folder = tmp_path_factory.mktemp("examples")
    make_pdf(folder / "report.pdf", PAGES)
    with DocumentQA.open(folder / "my-index") as qa:
        qa.add(folder / "report.pdf")
    return folder


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_has_an_example_that_runs(name, made, monkeypatch):
    monkeypatch.chdir(made)
    names = public_names()
    examples = doctest.DocTestParser().get_examples(inspect.cleandoc(names[name].__doc__ or ""))
    assert examples, f"{name} has no example"
    assert not [example for example in examples if example.options]
    hosts = {"NodeWithScore": NodeWithScore, "TextNode": TextNode, "VectorStoreQuery": VectorStoreQuery}
    test = doctest.DocTest(examples, {**names, **hosts}, name, None, None, None)
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
