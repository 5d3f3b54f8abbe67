"""The benchmark of growth adds what it says, and measures all of it."""

import json
from contextlib import closing

import numpy as np
from index_growth import Identity, add_singles, copies, drawn_records, grow, main

from mmrag.index.chroma import ChromaIndex


def test_copies_are_other_pages_like_the_first_ones():
    rng = np.random.default_rng(0)
    records = drawn_records(5, rng)
    pages = list(copies(records, 15, rng))
    assert pages[:5] == records and len({page.id for page in pages}) == 15
    for number, copy in enumerate(pages):
        record = records[number % 5]
        cosines = (copy.matrix * record.matrix).sum(1)
        assert (cosines > 0.9).all() and copy.page.document_id == copy.page.source.sha256[:16]
        assert len(copy.text.split()) == len(record.text.split())
        assert copy.text.split() == [word.text for word in copy.page.words]
    assert sum(page.text == records[number % 5].text for number, page in enumerate(pages[5:])) < 3


def test_growth_is_measured_at_each_count():
    records = drawn_records(10, np.random.default_rng(0))
    results = grow(records, [30, 10], Identity(), seed=0)
    assert [result["pages"] for result in results] == [10, 30]
    assert all(value > 0 for result in results for value in result.values())
    assert results[0]["text_bytes_a_page"] == sum(len(r.text.encode()) for r in records) / 10
    for result in results:
        assert result["beside_text"] == result["bytes_a_page"] - result["text_bytes_a_page"]
    singles = add_singles(records, 12, Identity(), seed=0)
    assert singles["texts"] == 12 and singles["last_ms"] > 0


def test_an_index_that_was_grown_and_kept_is_asked_by_its_embedder(tmp_path):
    identity = Identity("another", "a" * 64, 128)
    records = drawn_records(4, np.random.default_rng(0))
    grow(records, [9], identity, seed=0, keep=tmp_path / "grown")
    assert main(["--index", str(tmp_path / "grown"), "--pages", "12", "--singles", "0"]) == 0
    with closing(ChromaIndex.open(tmp_path / "grown", identity, read_only=True)) as index:
        assert index.count() == 9


def test_the_results_are_written(tmp_path, capsys):
    path = tmp_path / "growth.json"
    assert main(["--pages", "20", "--singles", "8", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert [row["pages"] for row in result["growth"]] == [20] and result["singles"]["texts"] == 8
    assert "bytes_a_page" in capsys.readouterr().out
