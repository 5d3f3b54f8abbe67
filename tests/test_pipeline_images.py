"""The whole path with an embedder that looks at pages: a tiny random model of a true class.

What it finds means nothing; that pages are rendered at its size, embedded, searched at any budget and
answered from, and that a page it cannot take costs no other, is shown here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra mllm is not installed")
pytest.importorskip("transformers", reason="the extra mllm is not installed")

from mmrag import Budget, DocumentQA, MemoryIndex, MLLMEmbedder, Query, ReaderSettings  # noqa: E402
from mmrag.errors import BadInputError, IndexMismatchError  # noqa: E402
from mmrag.models import checkpoint  # noqa: E402
from mmrag.models.load import load_embedder  # noqa: E402
from mmrag.models.tiny import make_tiny  # noqa: E402
from mmrag.samples import sample_documents  # noqa: E402

READER = ReaderSettings(ocr="off", workers=1)
REPORT = "harbor-annual-report-2024.pdf"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkpoint that says it was trained."""
    plain = make_tiny(tmp_path_factory.mktemp("plain"))
    made = MLLMEmbedder.from_pretrained(plain, allow_untrained=True, device="cpu", max_visual_tokens=16)
    target = tmp_path_factory.mktemp("trained")
    checkpoint.save(target, made.model, replace(made.config, trained=True))
    return target


@pytest.fixture(scope="module")
def sees(folder) -> MLLMEmbedder:
    return MLLMEmbedder.from_pretrained(folder, device="cpu")


def test_add_search_ask_and_open_again(sees, folder, tmp_path):
    report = sample_documents() / REPORT
    with DocumentQA.open(tmp_path / "index", embedder=sees, reader=READER) as qa:
        assert qa.add(report).pages == 8
        found = qa.search("net sales in Europe", k=3)
        assert len(found) == 3 and found[0].page is not None
        answer = qa.ask("What were net sales?", k=3)
        assert answer.text and answer.ranking.reranked
        picture = Query(image=qa.render(found[0].page))
        assert len(qa.search(picture, k=2, channels=["vectors"])) == 2
        (record,) = qa.index.get([found[0].record.id], matrices=True)
        assert record.matrix.shape == (64, 64)
    again = MLLMEmbedder.from_pretrained(folder, device="cpu")
    with DocumentQA.open(tmp_path / "index", embedder=again, read_only=True) as qa:
        assert [c.id for c in qa.search("net sales in Europe", k=3)] == [c.id for c in found]
    other = MLLMEmbedder.from_pretrained(folder, device="cpu", compression=1)
    with pytest.raises(IndexMismatchError, match=r"compression 2.*compression 1"):
        DocumentQA.open(tmp_path / "index", embedder=other)


def test_every_budget_searches_the_prefix(sees, tmp_path):
    with DocumentQA(MemoryIndex.for_embedder(sees), embedder=sees, reader=READER) as qa:
        qa.add(sample_documents() / REPORT)
        (query,) = sees.encode_query(["wind"])
        for budget in (Budget(1, 1), Budget(4, 8), Budget(16, 64)):
            best = qa.search("wind", k=1, budget=budget, channels=["vectors"], rerank=False)[0]
            (record,) = qa.index.get([best.id], matrices=True)
            scores = query[: budget.query] @ np.asarray(record.matrix, np.float32)[: budget.document].T
            assert best.score == pytest.approx(scores.max(axis=1).sum(), abs=2e-2)


def test_pages_are_rendered_at_the_size_the_model_uses(sees, make_pdf, tmp_path):
    class Watching:
        def __init__(self) -> None:
            self.sizes: list[tuple[int, int]] = []

        def __getattr__(self, name):
            return getattr(sees, name)

        def encode_document(self, documents, **how):
            self.sizes += [document.image.size for document in documents]
            return sees.encode_document(documents, **how)

    watching = Watching()
    with DocumentQA(MemoryIndex.for_embedder(watching), embedder=watching, reader=READER) as qa:
        qa.add(make_pdf(tmp_path / "a.pdf", ["one", "two"]))
    assert sees.image_pixels == 16 * 4 * 16**2
    for width, height in watching.sizes:
        assert 0.9 * sees.image_pixels < width * height <= sees.image_pixels


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_page_that_cannot_be_embedded_costs_no_other(folder, tmp_path, on_error):
    """A page of 2000 by 5 points; the reader takes it, the model does not."""
    import pymupdf

    path = tmp_path / "odd.pdf"
    with pymupdf.open() as document:
        for size in ((612, 792), (2000, 5), (300, 300)):
            document.new_page(width=size[0], height=size[1]).insert_text((5, 5), "words")
        document.save(path)
    made = MLLMEmbedder.from_pretrained(folder, device="cpu", on_error=on_error)
    with DocumentQA(MemoryIndex.for_embedder(made), embedder=made, reader=READER) as qa:
        report = qa.add(path)
        assert report.pages == 2 and [(s.page, s.name) for s in report.skipped] == [(1, str(path))]
        assert "at most 200 times as long as wide" in report.skipped[0].reason
        assert sorted(record.page.number for record in qa.index.get(qa.index.ids())) == [0, 2]
        assert qa.status().skipped_pages == 1
        assert qa.add(path).unchanged == [str(path)]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_records_of_ones_own_are_all_added_or_none(folder, on_error):
    made = MLLMEmbedder.from_pretrained(folder, device="cpu", on_error=on_error)
    with DocumentQA(MemoryIndex.for_embedder(made), embedder=made, reader=READER) as qa:
        with pytest.raises((BadInputError, TypeError), match=r"\b1\b"):
            qa.add_texts(["good", None])
        with pytest.raises(BadInputError, match="document 1: an image must be at most 200 times"):
            qa.add_images([Image.new("RGB", (20, 20)), Image.new("RGB", (900, 2))])
        assert qa.index.count() == 0
        qa.add_texts(["good"])
        qa.add_images([Image.new("RGB", (20, 20))])
        assert qa.index.count() == 2


def test_sentences_are_compared_by_the_small_encoder(sees, make_pdf, tmp_path):
    """A model of pages is slow for hundreds of sentences, and not trained on them."""
    asked: list[object] = []

    class Watching:
        def __getattr__(self, name):
            return getattr(sees, name)

        def encode_document(self, documents, **how):
            asked.extend(documents)
            return sees.encode_document(documents, **how)

    watching = Watching()
    with DocumentQA(MemoryIndex.for_embedder(watching), embedder=watching, reader=READER) as qa:
        qa.add(make_pdf(tmp_path / "a.pdf", ["The bridge was opened in 1932.\nIt carries eight lanes."]))
        asked.clear()
        assert "1932" in qa.ask("When was the bridge opened?").text
        assert asked == []


def test_load_embedder_knows_a_multimodal_folder(folder, sees, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    made = load_embedder(folder, device="cpu")
    assert isinstance(made, MLLMEmbedder) and made.fingerprint == sees.fingerprint
    assert load_embedder(str(folder), compression=3).name.endswith("(compression 3)")
    with pytest.raises(FileNotFoundError, match="hf download mmrag-test/nowhere"):
        load_embedder("mmrag-test/nowhere")
