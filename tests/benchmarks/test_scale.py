"""The benchmark of stores measures what it says, on every store that runs here."""

import json

import numpy as np
import pytest
import scale
from index_growth import drawn_records

pytest.importorskip("qdrant_client", reason="needs the extra 'qdrant'")
pytest.importorskip("qdrant_edge", reason="needs the extra 'qdrant-edge'")


def test_questions_are_turned_rows_of_pages():
    records = drawn_records(5, np.random.default_rng(0))
    for rows, text in scale.questions(records, 4, np.random.default_rng(1)):
        best = max(float(rows[0] @ record.matrix[0]) for record in records)
        assert 0.7 < best < 0.97 and rows.shape == (16, 128)
        assert len(text.split()) == 5


@pytest.mark.parametrize("store", ["folder", "qdrant-edge"])
def test_a_store_is_measured_at_each_count(store, tmp_path, capsys):
    path, picture = tmp_path / "scale.json", tmp_path / "scale.png"
    arguments = ["--small", "--stores", store, "--json", str(path), "--folder", str(tmp_path)]
    assert scale.main([*arguments, "--plot", str(picture)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [(row["store"], row["pages"]) for row in rows] == [(store, 40), (store, 100)]
    for row in rows:
        assert row["16x64"]["recall"] == row["16x64"]["recall_any_copy"] == 1.0  # so few are all scored
        assert row["pages_a_second"] > 0 and row["bytes_a_page"] > 1000 and row["text"]["p95_ms"] > 0
        assert row["16x64"]["round_trips"] is None  # in this process
    assert picture.stat().st_size > 1000
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_pages_may_be_cut_and_memory_is_a_store(tmp_path):
    path = tmp_path / "scale.json"
    assert (
        scale.main(["--small", "--stores", "memory", "--rows", "4", "--words", "9", "--json", str(path)]) == 0
    )
    rows = json.loads(path.read_text())["rows"]
    assert [(row["store"], row["pages"], row["bytes_a_page"]) for row in rows] == [
        ("memory", 40, None),
        ("memory", 100, None),
    ]
    record = drawn_records(1, np.random.default_rng(0))[0]
    small = scale.cut(record, 4, 9)
    assert (
        small.matrix.shape == (4, 128) and small.text == " ".join(record.text.split()[:9]) == small.page.text
    )
    assert [word.text for word in small.page.words] == small.text.split()
    whole = scale.cut(record, None, None)
    assert whole.text == record.text and len(whole.matrix) == len(record.matrix)


def test_a_store_that_there_is_not_is_refused(capsys):
    with pytest.raises(SystemExit):
        scale.main(["--stores", "milvus"])
    assert (
        "--stores must be of memory, folder, postgres, qdrant-edge, qdrant, got milvus"
        in capsys.readouterr().err
    )
    with pytest.raises(SystemExit, match="needs --qdrant-url"):
        scale.main(["--small", "--stores", "qdrant"])
