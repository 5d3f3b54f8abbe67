"""BEIR's layout: three texts, two questions, graded judgements."""

import pytest

from mmrag.evaluation import evaluate, load_pack
from mmrag.evaluation.datasets import make_pack
from mmrag.evaluation.pack import WHOLE


@pytest.fixture
def copy(tmp_path, files):
    folder = tmp_path / "scifacts"
    corpus = [
        {"_id": "d1", "title": "Tides", "text": 'The moon pulls the "sea".', "metadata": {}},
        {"_id": "d2", "title": "", "text": "Bees dance."},
        {"_id": "d3", "title": "", "text": " "},
    ]
    files.lines(folder / "corpus.jsonl", corpus)
    queries = [("q1", "What pulls the sea?"), ("q2", "Who dances?"), ("q3", "Nobody judged this one?")]
    files.lines(folder / "queries.jsonl", [{"_id": number, "text": text} for number, text in queries])
    (folder / "qrels").mkdir()
    rows = ["query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td2\t0", "q2\td2\t1", "q2\tgone\t1"]
    (folder / "qrels" / "test.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "qrels" / "train.tsv").write_text(rows[0] + "\nq3\td1\t1\n", encoding="utf-8")
    return folder


def test_a_text_is_a_file_and_the_evidence(copy, tmp_path, files):
    summary = make_pack("beir", copy, tmp_path / "pack")
    assert (summary.documents, summary.questions) == (2, 2)
    assert dict(summary.skipped) == {"document without a word": 1, "judgement of an unknown document": 1}
    pack = load_pack(tmp_path / "pack")
    names = files.sources(tmp_path / "pack")
    assert pack.documents == (names["d1"], names["d2"]) == ("000001.txt", "000002.txt")
    assert (pack.documents_path / names["d1"]).read_text() == 'Tides\n\nThe moon pulls the "sea".'
    first, second = pack.questions
    assert (first.id, first.relevant) == ("q1", {(names["d1"], WHOLE): 2})
    assert (second.id, second.relevant, second.source) == ("q2", {(names["d2"], WHOLE): 1}, "beir")
    report = evaluate(pack, lambda question, files: [(names["d2"], 0), (names["d2"], 1), (names["d1"], 0)])
    assert report.scopes["pack"]["all"].figures["mrr@10"].mean == (1 / 2 + 1) / 2


def test_another_split(copy, tmp_path):
    assert make_pack("beir", copy, tmp_path / "pack", split="train").questions == 1


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels"])
def test_what_is_missing_is_told(copy, tmp_path, name):
    (copy / name).rename(tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=f"BEIR must have '{name.split('.')[0]}' in .*Fetch BeIR/scifact"
    ):
        make_pack("beir", copy, tmp_path / "pack")
    assert [item.name for item in tmp_path.iterdir() if item.name.startswith("pack")] == []


def test_a_pack_that_is_there_stays(copy, tmp_path):
    make_pack("beir", copy, tmp_path / "pack")
    with pytest.raises(FileExistsError, match="a pack must be a new folder"):
        make_pack("beir", copy, tmp_path / "pack")
    with pytest.raises(ValueError, match=r"layout must be one of beir, vidore-v1, .*, got 'bier'"):
        make_pack("bier", copy, tmp_path / "other")


def test_the_hubs_copy_is_the_same(copy, tmp_path, files):
    """Parquet in a folder a table; the judgements are a data set of their own there."""
    import json

    hub = tmp_path / "hub"
    for table in ("corpus", "queries"):
        rows = [json.loads(line) for line in (copy / f"{table}.jsonl").read_text().splitlines()]
        rows = [{name: row.get(name, "") for name in ("_id", "title", "text")} for row in rows]
        files.parquet(hub / table / f"{table}-00000-of-00001.parquet", rows)
    (hub / "qrels").mkdir()
    (hub / "qrels" / "test.tsv").write_bytes((copy / "qrels" / "test.tsv").read_bytes())
    make_pack("beir", copy, tmp_path / "a")
    make_pack("beir", hub, tmp_path / "b")
    assert (tmp_path / "a" / "queries.jsonl").read_bytes() == (tmp_path / "b" / "queries.jsonl").read_bytes()
