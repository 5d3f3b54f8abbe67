"""DocVQA, InfographicVQA and MP-DocVQA: the hub's Parquet and the authors' JSON give the same pack."""

import json

import pytest

from mmrag.evaluation import load_pack
from mmrag.evaluation.datasets import make_pack

ROWS = [
    {"questionId": "11", "question": "Who signed?", "page": 1, "answers": ["Ann", "Ann B."]},
    {"questionId": "12", "question": "What is the total?", "page": 1, "answers": ["42"]},
    {"questionId": "13", "question": "When?", "page": 2, "answers": ["May"]},
]


def docvqa_row(row):
    page = row["page"]
    facts = {"ucsf_document_id": "xnbl0037", "ucsf_document_page_no": str(page), "question_types": ["form"]}
    return {name: row[name] for name in ("questionId", "question", "answers")} | facts


def questions(pack):
    return {one.id: one for one in load_pack(pack).questions}


def write_json(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"dataset_name": "ours", "data": rows}), encoding="utf-8")


def write_docvqa(folder, files, form):
    if form == "parquet":
        rows = [docvqa_row(row) | {"image": files.picture(row["page"])} for row in ROWS]
        files.parquet(folder / "DocVQA" / "validation-00000-of-00001.parquet", rows)
    else:
        rows = [docvqa_row(row) | {"image": f"documents/xnbl0037_{row['page']}.png"} for row in ROWS]
        write_json(folder / "val_v1.0_withQT.json", rows)
        (folder / "documents").mkdir()
        for page in (1, 2):
            (folder / "documents" / f"xnbl0037_{page}.png").write_bytes(files.png(page))


@pytest.mark.parametrize("form", ["parquet", "json"])
def test_docvqa(tmp_path, files, form):
    """Two pages of one document, three questions; the second page is within the first question's document."""
    write_docvqa(tmp_path / "copy", files, form)
    summary = make_pack("docvqa", tmp_path / "copy", tmp_path / "pack")
    assert (summary.documents, summary.questions, dict(summary.skipped)) == (2, 3, {})
    asked = questions(tmp_path / "pack")
    assert asked["11"].evidence == asked["12"].evidence == {("000001.png", 0)}
    assert asked["11"].docs == ("000001.png", "000002.png")
    assert (asked["11"].answers, asked["11"].evidence_types) == (("Ann", "Ann B."), ("form",))
    assert (tmp_path / "pack" / "documents" / "000002.png").read_bytes() == files.png(2)


@pytest.mark.parametrize("form", ["parquet", "json"])
def test_infographicvqa(tmp_path, files, form):
    """Every infographic is a document of its own."""
    copy = tmp_path / "copy"
    rows = [{name: row[name] for name in ("questionId", "question", "answers")} for row in ROWS]
    if form == "parquet":
        rows = [row | {"image": files.picture(one["page"])} for row, one in zip(rows, ROWS, strict=True)]
        files.parquet(copy / "InfographicVQA" / "validation-00000-of-00001.parquet", rows)
    else:
        for row, one in zip(rows, ROWS, strict=True):
            row["image_local_name"] = f"{one['page']}.jpeg"
            (copy / "infographicsvqa_images").mkdir(parents=True, exist_ok=True)
            (copy / "infographicsvqa_images" / row["image_local_name"]).write_bytes(files.png(one["page"]))
        write_json(copy / "infographicsVQA_val_v1.0_withQT.json", rows)
    assert make_pack("infographicvqa", copy, tmp_path / "pack").documents == 2
    asked = questions(tmp_path / "pack")
    assert asked["13"].docs == ("000002.png",)
    assert asked["12"].answers == ("42",)


@pytest.mark.parametrize("form", ["parquet", "json"])
def test_mp_docvqa(tmp_path, files, form):
    """Questions of three pages and of two of them; one question's page is secret."""
    copy = tmp_path / "copy"
    pages = [f"doc_p{number}" for number in range(3)]
    plans = [("1", pages, 2, ["Ann"]), ("2", pages[1:], 0, ["42"]), ("3", pages, None, None)]
    rows = []
    for number, ids, position, answers in plans:
        row = {"questionId": number, "question": f"Which {number}?", "doc_id": "doc"}
        if form == "parquet":  # lists and numbers are texts there
            row |= {"page_ids": str(ids), "answers": None if answers is None else str(answers)}
            row["answer_page_idx"] = None if position is None else str(position)
            images = [files.picture(pages.index(page)) for page in ids]
            row |= {f"image_{n}": images[n - 1] if n <= len(images) else None for n in range(1, 21)}
        else:
            row |= {"page_ids": ids, "answers": answers, "answer_page_idx": position}
        rows.append(row)
    if form == "parquet":
        files.parquet(copy / "data" / "val-00000-of-00001.parquet", rows)
    else:
        write_json(copy / "val.json", rows)
        (copy / "images").mkdir()
        for number, page in enumerate(pages):
            (copy / "images" / f"{page}.jpg").write_bytes(files.png(number))
    summary = make_pack("mp-docvqa", copy, tmp_path / "pack")
    assert (summary.documents, summary.questions) == (3, 2)
    assert dict(summary.skipped) == {"question without evidence": 1}
    asked, names = questions(tmp_path / "pack"), files.sources(tmp_path / "pack")
    assert asked["1"].evidence == {(names["doc_p2"], 0)}
    assert asked["2"].evidence == {(names["doc_p1"], 0)}
    assert asked["2"].docs == (names["doc_p1"], names["doc_p2"])


def test_a_missing_picture_is_told(tmp_path, files):
    write_docvqa(tmp_path / "copy", files, "json")
    (tmp_path / "copy" / "documents" / "xnbl0037_2.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"DocVQA must have 'documents/xnbl0037_2.png' in .*Fetch lmms-lab"
    ):
        make_pack("docvqa", tmp_path / "copy", tmp_path / "pack")
