"""`mmrag pack` as a shell sees it: a benchmark's copy in, a pack out, and that pack measured."""

import json

from mmrag.cli import main


def call(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_benchmark_is_packed_and_measured(capsys, tmp_path):
    copy = tmp_path / "copy"
    (copy / "qrels").mkdir(parents=True)
    texts = ["The moon pulls the sea.", "Bees dance to tell of flowers.", "Iron rusts in rain."]
    lines(copy / "corpus.jsonl", [{"_id": f"d{n}", "title": "", "text": t} for n, t in enumerate(texts)])
    lines(copy / "queries.jsonl", [{"_id": "q", "text": "Why do bees dance?"}])
    (copy / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t1\n", encoding="utf-8")
    code, out, _ = call(capsys, "pack", "beir", copy, tmp_path / "pack")
    assert (code, out) == (0, f"{tmp_path / 'pack'}: 3 documents, 1 questions\n")
    code, out, _ = call(capsys, "evaluate", tmp_path / "pack", "--json")
    assert code == 0
    assert json.loads(out)["scopes"]["pack"]["all"]["figures"]["ndcg@10"]["mean"] == 1


def test_layouts_are_listed_and_mistakes_told(capsys, tmp_path):
    code, out, _ = call(capsys, "pack")
    assert code == 0
    assert "vidore-v3" in out
    code, _, error = call(capsys, "pack", "vidore-v4", tmp_path, tmp_path / "pack")
    assert (code, "LAYOUT must be one of beir" in error) == (2, True)
    code, _, error = call(capsys, "pack", "beir")
    assert (code, "FROM holds corpus.jsonl" in error) == (2, True)
    code, _, error = call(capsys, "pack", "beir", tmp_path, tmp_path / "pack")
    assert (code, "Fetch BeIR/scifact" in error) == (1, True)
