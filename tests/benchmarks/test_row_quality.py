"""The benchmark of stored rows measures copies of an index, and leaves the index as it was."""

import json

from row_quality import main

from mmrag import DocumentQA


def test_each_version_is_measured_on_the_same_questions(tmp_path, capsys, make_pdf):
    pack = tmp_path / "pack"
    make_pdf(pack / "documents" / "tea.pdf", ["Green tea is steeped at 80 degrees.", "It is drunk in Japan."])
    line = {"id": "q", "question": "How hot is tea steeped?", "doc": "tea.pdf", "answerable": True}
    line |= {"evidence_pages": [0], "answers": ["80"], "answer_format": "Int", "source": "drawn"}
    (pack / "queries.jsonl").write_text(json.dumps(line) + "\n")
    with DocumentQA.open(tmp_path / "index", row_type="float16", reranker=None) as qa:
        qa.add(pack / "documents")
    before = (tmp_path / "index" / "index.sqlite").read_bytes()
    options = ["--index", str(tmp_path / "index"), "--rows", "2", "--json", str(tmp_path / "r.json")]
    assert main([str(pack), *options]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert list(result) == ["float16, all rows", "int8, all rows", "int8, 2 rows"]
    assert {version[name]["ndcg@5"] for version in result.values() for name in ("alone", "fused")} == {1.0}
    assert (tmp_path / "index" / "index.sqlite").read_bytes() == before
    assert "int8, 2 rows, fused: nDCG@5 1.0000, +0.0000" in capsys.readouterr().out
