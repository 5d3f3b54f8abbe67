"""ViDoRe's layouts: three grey pages each, and what the tables say of them."""

import pytest

from mmrag.errors import MissingExtraError
from mmrag.evaluation import load_pack
from mmrag.evaluation.boxes import PlacedBox
from mmrag.evaluation.datasets import make_pack


def question(pack, number):
    return next(one for one in load_pack(pack).questions if one.id == number)


def test_v1_as_first_published(tmp_path, files):
    """A page of two questions is one page, a question of two pages one, a page alone a distractor."""
    rows = [
        {"query": "Who signed?", "image": files.picture(1), "image_filename": "a.jpg", "answer": "Ann"},
        {"query": "When?", "image": files.picture(1), "image_filename": "a.jpg", "answer": "['May']"},
        {"query": "Who signed?", "image": files.picture(2), "image_filename": "b.jpg", "answer": "Bo"},
        {"query": None, "image": files.picture(3), "image_filename": "c.jpg", "answer": None},
    ]
    files.parquet(tmp_path / "copy" / "data" / "test-00000-of-00001.parquet", rows)
    summary = make_pack("vidore-v1", tmp_path / "copy", tmp_path / "pack")
    assert (summary.documents, summary.questions) == (3, 2)
    pack, names = load_pack(tmp_path / "pack"), files.sources(tmp_path / "pack")
    signed = pack.questions[0]
    assert signed.evidence == {(names["a.jpg"], 0), (names["b.jpg"], 0)}
    assert signed.answers == ("Ann", "Bo")
    assert signed.image_only_evidence
    assert (pack.documents_path / names["c.jpg"]).read_bytes() == files.png(3)  # byte for byte


def test_v1_in_three_tables(tmp_path, files):
    write_v2(tmp_path / "copy", files)
    assert make_pack("vidore-v1", tmp_path / "copy", tmp_path / "pack").questions == 2


def write_v2(folder, files):
    corpus = [{"corpus-id": n, "image": files.picture(n), "doc-id": "report"} for n in range(3)]
    files.parquet(folder / "corpus" / "test-00000-of-00002.parquet", corpus[:2])
    files.parquet(folder / "corpus" / "test-00001-of-00002.parquet", corpus[2:])
    queries = [("How much?", "english"), ("Combien?", "french"), ("Warum?", "german")]
    rows = [
        {"query-id": n, "query": text, "language": language} for n, (text, language) in enumerate(queries)
    ]
    files.parquet(folder / "queries" / "test-00000-of-00001.parquet", rows)
    judged = [(0, 2, 2), (0, 1, 1), (1, 2, 2), (2, 0, 0)]
    rows = [
        {"query-id": q, "corpus-id": c, "score": score, "answer": f"A sentence about {c}."}
        for q, c, score in judged
    ]
    files.parquet(folder / "qrels" / "test-00000-of-00001.parquet", rows)


def test_v2(tmp_path, files):
    write_v2(tmp_path / "copy", files)
    summary = make_pack("vidore-v2", tmp_path / "copy", tmp_path / "pack")
    assert (summary.documents, summary.questions) == (3, 2)
    assert dict(summary.skipped) == {"question without evidence": 1}
    first, names = question(tmp_path / "pack", "0"), files.sources(tmp_path / "pack")
    assert first.relevant == {(names["2"], 0): 2, (names["1"], 0): 1}
    assert (first.kind, first.answer_format, first.source) == ("english", "Free", "vidore-v2")
    assert first.answers == ("A sentence about 2.", "A sentence about 1.")


def write_v3(folder, files):
    corpus = [
        {
            "corpus_id": n,
            "image": files.picture(n),
            "doc_id": "report",
            "markdown": "words",
            "page_number_in_doc": n,
        }
        for n in range(3)
    ]
    files.parquet(folder / "corpus" / "test-00000-of-00001.parquet", corpus)
    query = {"query_id": 7, "query": "How much?", "language": "english", "answer": "Four in all."}
    query |= {"query_types": ["numerical"], "query_generator": "human", "raw_answers": ["Four."]}
    files.parquet(folder / "queries" / "test-00000-of-00001.parquet", [query])
    boxes = [(0, 50, 25, 150, 75), (1, -4, 0, 210, 50), (1, 60, 60, 60, 80)]
    fields = [dict(zip(("annotator", "x1", "y1", "x2", "y2"), box, strict=True)) for box in boxes]
    judged = {
        "query_id": 7,
        "corpus_id": 1,
        "score": 2,
        "content_type": ["Table", "N/A (If relevance score=0)"],
    }
    files.parquet(folder / "qrels" / "test-00000-of-00001.parquet", [judged | {"bounding_boxes": fields}])


def test_v3_has_boxes_in_pixels(tmp_path, files):
    """On a page of 200 x 100; one box pokes out, one has no area."""
    write_v3(tmp_path / "copy", files)
    summary = make_pack("vidore-v3", tmp_path / "copy", tmp_path / "pack")
    assert dict(summary.skipped) == {"box without an area": 1}
    one, names = question(tmp_path / "pack", "7"), files.sources(tmp_path / "pack")
    assert one.relevant == {(names["1"], 0): 2}
    assert one.evidence_boxes == (
        PlacedBox(names["1"], 0, (0.25, 0.25, 0.75, 0.75)),
        PlacedBox(names["1"], 0, (0, 0, 1, 0.5)),
    )
    assert one.evidence_types == ("Table",)
    assert one.human_written
    assert one.docs == tuple(names.values())  # all pages of the document of the evidence
    assert one.kind == "english"


def test_v3_as_mteb_has_it_a_set_a_language(tmp_path, files):
    folder = tmp_path / "copy"
    for number, language in enumerate(("english", "french")):
        pages = [{"id": f"corpus-test-{n}", "image": files.picture(n)} for n in range(2)]
        files.parquet(folder / f"{language}-corpus" / "test-00000-of-00001.parquet", pages)
        query = {"id": f"query-test-{number}", "text": f"In {language}?", "language": language}
        files.parquet(folder / f"{language}-queries" / "test-00000-of-00001.parquet", [query])
        judged = {"query-id": query["id"], "corpus-id": "corpus-test-1", "score": 1}
        files.parquet(folder / f"{language}-qrels" / "test-00000-of-00001.parquet", [judged])
    summary = make_pack("vidore-v3", folder, tmp_path / "pack")
    assert (summary.documents, summary.questions) == (2, 2)
    assert question(tmp_path / "pack", "query-test-1").kind == "french"


def test_a_missing_table_names_what_to_fetch(tmp_path, files):
    with pytest.raises(
        FileNotFoundError, match=r"ViDoRe v3 must have 'corpus' in .*Fetch vidore/vidore_v3_hr"
    ):
        make_pack("vidore-v3", tmp_path, tmp_path / "pack")


def test_without_pyarrow_the_extra_is_named(tmp_path, files, monkeypatch):
    write_v2(tmp_path / "copy", files)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"Reading test-.*pip install 'mmrag\[datasets\]'"):
        make_pack("vidore-v2", tmp_path / "copy", tmp_path / "pack")


def test_visual_documents_of_mmeb_v2(tmp_path, files):
    """As VisRAG has them: ids are long file names, the only part is called train."""
    folder, name = tmp_path / "copy", "a chart, as named by somebody " * 9 + ".png"
    files.parquet(folder / "corpus" / "train-0.parquet", [{"corpus-id": name, "image": files.picture(4)}])
    query = {"query-id": "4.png-2", "query": "How many?", "answer": ["7"], "options": None}
    files.parquet(folder / "queries" / "train-0.parquet", [query])
    judged = {"query-id": "4.png-2", "corpus-id": name, "score": 1}
    files.parquet(folder / "qrels" / "train-0.parquet", [judged])
    make_pack("mmeb-visdoc", folder, tmp_path / "pack")
    one = question(tmp_path / "pack", "4.png-2")
    assert (one.evidence, one.answers) == ({("000001.png", 0)}, ("7",))
