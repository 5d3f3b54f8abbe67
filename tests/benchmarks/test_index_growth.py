"""The benchmark of growth adds what it says, and measures all of it."""

import json

import numpy as np
from index_growth import add_singles, copies, drawn_records, grow, main


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
    results = grow(records, [30, 10], 128, seed=0)
    assert [result["pages"] for result in results] == [10, 30]
    assert all(value > 0 for result in results for value in result.values())
    assert results[0]["text_bytes_a_page"] == sum(len(r.text.encode()) for r in records) / 10
    singles = add_singles(records, 12, 128, seed=0)
    assert singles["texts"] == 12 and singles["last_seconds"] > 0


def test_the_results_are_written(tmp_path, capsys):
    path = tmp_path / "growth.json"
    assert main(["--pages", "20", "--singles", "8", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert [row["pages"] for row in result["growth"]] == [20] and result["singles"]["texts"] == 8
    assert "bytes_a_page" in capsys.readouterr().out
