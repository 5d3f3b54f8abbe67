"""MMLongBench-Doc, CiteVQA and T2-RAGBench in their layouts, with PDFs drawn here."""

import json

import pytest

from mmrag.evaluation import load_pack
from mmrag.evaluation.boxes import PlacedBox
from mmrag.evaluation.datasets import make_pack
from mmrag.evaluation.pack import WHOLE


def questions(pack):
    return {one.id: one for one in load_pack(pack).questions}


SAMPLES = [
    ("ship.pdf", "How many?", "420", "[1, 2]", "['Table', 'Chart']", "Int"),
    ("ship.pdf", "Which yards?", "['Turku', 'Gdynia']", "[2]", "['Pure-text (Plain-text)']", "List"),
    ("ship.pdf", "What does a dog cost?", "Not answerable", "[]", "[]", "None"),
    ("gone.pdf", "Where?", "Here", "[1]", "[]", "Str"),
]


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_mmlongbench(tmp_path, files, make_pdf, form):
    copy = tmp_path / "copy"
    names = ("doc_id", "question", "answer", "evidence_pages", "evidence_sources", "answer_format")
    rows = [dict(zip(names, sample, strict=True)) | {"doc_type": "Brochure"} for sample in SAMPLES]
    folder = copy / "data" / "documents" if form == "json" else copy / "documents"
    make_pdf(folder / "ship.pdf", ["The ferry carries 420.", "Built in Turku and Gdynia."])
    if form == "json":
        (copy / "data" / "samples.json").write_text(json.dumps(rows), encoding="utf-8")
    else:
        files.parquet(copy / "data" / "train-00000-of-00001.parquet", rows)
    summary = make_pack("mmlongbench", copy, tmp_path / "pack")
    assert (summary.documents, summary.questions) == (1, 3)
    assert dict(summary.skipped) == {"question whose file is missing": 1}
    asked = questions(tmp_path / "pack")
    assert asked["0"].evidence == {("000001.pdf", 0), ("000001.pdf", 1)}  # from 0 here, from 1 there
    assert (asked["0"].evidence_types, asked["0"].answer_format) == (("Table", "Chart"), "Int")
    assert asked["1"].answer_items == ("Turku", "Gdynia")
    assert (asked["2"].answerable, asked["2"].docs, asked["2"].answers) == (False, ("000001.pdf",), ())
    source, target = folder / "ship.pdf", tmp_path / "pack" / "documents" / "000001.pdf"
    assert source.read_bytes() == target.read_bytes()


def test_citevqa(tmp_path, make_pdf):
    """Boxes are top, left, bottom, right in thousandths; what is not necessary is no evidence."""
    copy = tmp_path / "copy"
    for name in ("a", "b"):
        make_pdf(copy / "data" / "pdf" / f"{name}.pdf", ["One.", "Two."])
    evidence = [
        {"type": "table", "bbox": [200, 100, 400, 900], "source_pdf_name": "a.pdf", "source_page_id": 2},
        {"type": "text", "bbox": [0, 0, 500, 500], "source_pdf_name": "b.pdf", "source_page_id": 1},
        {"type": "text", "bbox": [5, 5, 5, 9], "source_pdf_name": "a.pdf", "source_page_id": 1},
        {"type": "text", "bbox": [0, 0, 9, 9], "source_pdf_name": "a.pdf", "source_page_id": None},
    ]
    for item, necessity in zip(evidence, ("necessary", "optional", "necessary", "necessary"), strict=True):
        item["necessity"] = necessity
    row = {"index": "q_1", "Question": "What is the value?", "Standard_Answer": "0.075", "Evidence": evidence}
    row |= {"PDF_Source": ["data/pdf/a.pdf", "data/pdf/b.pdf"], "dataset_type": "Multi (1-Gold)"}
    dead = row | {"index": "q_2", "PDF_Source": ["data/pdf/dead-link.pdf"]}
    (copy / "data" / "validation").mkdir()
    (copy / "data" / "validation" / "CiteVQA.json").write_text(json.dumps([row, dead]), encoding="utf-8")
    summary = make_pack("citevqa", copy, tmp_path / "pack")
    assert dict(summary.skipped) == {"question whose file is missing": 1, "box without an area": 1}
    one = questions(tmp_path / "pack")["q_1"]
    assert one.evidence == {("000001.pdf", 1), ("000001.pdf", 0)}
    assert one.docs == ("000001.pdf", "000002.pdf")
    assert one.evidence_boxes == (PlacedBox("000001.pdf", 1, (0.1, 0.2, 0.9, 0.4)),)
    assert (one.answers, one.answer_format, one.kind) == (("0.075",), "Free", "Multi (1-Gold)")


def test_t2_ragbench(tmp_path, files, make_pdf):
    """FinQA with its PDFs, ConvFinQA with its contexts as Markdown; two questions of one context."""
    copy = tmp_path / "copy"
    finqa = [
        {"id": "f1", "context_id": "c1", "question": "What share?", "program_answer": "0.308"},
        {"id": "f2", "context_id": "c1", "question": "How much?", "program_answer": "94"},
        {"id": "f3", "context_id": "c2", "question": "Which?", "program_answer": "5"},
    ]
    for row in finqa:
        row |= {"original_answer": "30.8%" if row["id"] == "f1" else row["program_answer"], "context": "|a|"}
        row["file_name"] = f"ETR/2016/page_{row['context_id']}.pdf"
    make_pdf(copy / "data" / "FinQA" / "test" / "ETR" / "2016" / "page_c1.pdf", ["Sales rose."])
    files.lines(copy / "data" / "FinQA" / "test" / "metadata.jsonl", finqa)
    talk = {"id": "f1", "context_id": "c1", "question": "And the cash?", "program_answer": "206588"}
    blank = talk | {"id": "f9", "question": ""}
    files.lines(
        copy / "data" / "ConvFinQA" / "turn_0.jsonl", [talk | {"context": "| cash | 206,588 |"}, blank]
    )
    summary = make_pack("t2-ragbench", copy, tmp_path / "pack")
    assert (summary.documents, summary.questions) == (2, 3)
    assert dict(summary.skipped) == {"question whose file is missing": 1, "question without words": 1}
    asked, names = questions(tmp_path / "pack"), files.sources(tmp_path / "pack")
    assert asked["FinQA/f1"].evidence == asked["FinQA/f2"].evidence == {(names["FinQA/c1"], WHOLE)}
    assert asked["FinQA/f1"].answers == ("0.308", "30.8%")
    assert asked["ConvFinQA/f1"].kind == "ConvFinQA"
    assert names["ConvFinQA/c1"].endswith(".md")
    assert names["FinQA/c1"].endswith(".pdf")


@pytest.mark.parametrize(
    "layout", ["mmlongbench", "citevqa", "t2-ragbench", "docvqa", "mp-docvqa", "mmeb-visdoc"]
)
def test_an_empty_folder_is_told_what_goes_there(tmp_path, layout):
    with pytest.raises(FileNotFoundError, match=r"must have '.*' in .*, got none\. Fetch .* holds: "):
        make_pack(layout, tmp_path, tmp_path / "pack")
