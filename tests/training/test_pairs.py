"""Pairs of documents from end to end: what stands on the page is what is asked for, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pymupdf
import pytest
from filelock import FileLock

from mmrag.cli import main
from mmrag.documents import ReaderSettings
from mmrag.training import pairs
from mmrag.training.data import read_examples
from mmrag.training.mining import read_mined
from mmrag.training.pairs import PairSettings

ALL = PairSettings(per_page=50, hold_out=0.0)
PROSE = [
    "The harbour office counted every ship that came in during the stormy spring of that year.",
    "A heron was seen near the reeds by three children who had walked along the canal.",
    "Bakers in the old town sell rye bread with caraway seeds on market days in autumn.",
    "The new turbine gives enough power for the village school and two of its workshops.",
    "Engineers measured how far the wooden bridge sinks when a loaded waggon crosses it.",
    "Most letters of the abbot were lost when the library burned in the winter of the siege.",
    "Painters mixed their green from copper and vinegar long before the merchants sold it ready.",
    "Nobody on the island had seen a locomotive until the circus brought a model of one.",
]


def place(path: Path, pages: Sequence[Sequence[tuple[float, float, str, float]]]) -> Path:
    """A PDF whose texts stand where they are told: x and y of the baseline in points, text, size."""
    document = pymupdf.open()
    for rows in pages:
        page = document.new_page(width=612, height=792)
        for x, y, text, size in rows:
            page.insert_text((x, y), text, fontsize=size)
    path.parent.mkdir(parents=True, exist_ok=True)
    document.save(path, no_new_id=True)
    document.close()
    return path


def harbour(path: Path) -> Path:
    return place(
        path,
        [
            [
                (72, 40, "Harbour report", 9),
                (500, 40, "7", 9),
                (72, 100, "2.1 Ships in the harbour", 18),
                (72, 140, PROSE[0], 11),
                (72, 200, "Table 3: Ships and cargo by pier", 11),
                (220, 224, "Ships", 11),
                (320, 224, "Cargo", 11),
                (72, 242, "North pier", 11),
                (220, 242, "14", 11),
                (320, 242, "5200", 11),
                (72, 260, "South pier", 11),
                (220, 260, "9", 11),
                (320, 260, "3100", 11),
            ]
        ],
    )


def prose(path: Path, pages: Sequence[str | Sequence[str]]) -> Path:
    """A page of each text, or of texts under each other, in the middle of the page."""
    texts = [[page] if isinstance(page, str) else page for page in pages]
    return place(path, [[(72, 300 + 14 * row, text, 9) for row, text in enumerate(page)] for page in texts])


def make_pairs(inputs: object, target: Path, **more):
    """With one reading process and without OCR, which these pages do not need."""
    return pairs.make_pairs(inputs, target, reader=ReaderSettings(workers=1, ocr="off"), **more)


def made(target: Path) -> list[dict]:
    return list(read_mined(target))


def words_at(file: Path, number: int) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Words and their boxes as PyMuPDF itself gives them, in 0..1."""
    with pymupdf.open(file) as document:
        page = document[number]
        w, h = page.rect.width, page.rect.height
        return [(t, (a / w, b / h, c / w, d / h)) for a, b, c, d, t, *_ in page.get_text("words")]


def around(file: Path, *texts: str) -> list[list[float]]:
    """The box round each of these runs of words on the first page."""
    words = words_at(file, 0)
    boxes = []
    for text in texts:
        parts = text.split()
        at = next(n for n in range(len(words)) if [word for word, _ in words[n : n + len(parts)]] == parts)
        own = [box for _, box in words[at : at + len(parts)]]
        boxes.append(
            [
                min(b[0] for b in own),
                min(b[1] for b in own),
                max(b[2] for b in own),
                max(b[3] for b in own),
            ]
        )
    return boxes


def test_a_page_by_hand(tmp_path) -> None:
    file = harbour(tmp_path / "docs" / "harbour.pdf")
    report = make_pairs(tmp_path / "docs", tmp_path / "out.jsonl", settings=ALL)
    lines = made(tmp_path / "out.jsonl")
    found = {
        (line["query"]["rule"], line["query"]["text"]): line["query"]["boxes"]
        for line in lines
        if line["query"]["rule"] in ("heading", "caption", "cell")
    }
    wanted = {
        ("heading", "Ships in the harbour"): ["2.1 Ships in the harbour"],
        ("caption", "Ships and cargo by pier"): ["Table 3: Ships and cargo by pier"],
        ("cell", "North pier, Ships"): ["North pier", "Ships", "14"],
        ("cell", "North pier, Cargo"): ["North pier", "Cargo", "5200"],
        ("cell", "South pier, Ships"): ["South pier", "Ships", "9"],
        ("cell", "South pier, Cargo"): ["South pier", "Cargo", "3100"],
    }
    assert set(found) == set(wanted)
    words = [word for word, _ in words_at(file, 0)]
    assert words.count("Ships") == 3  # heading, caption, column: the column's is the last
    last = [box for word, box in words_at(file, 0) if word == "Ships"][-1]
    for key, texts in wanted.items():
        expected = [list(last) if text == "Ships" else around(file, text)[0] for text in texts]
        assert [pytest.approx(box, abs=1e-5) for box in expected] == found[key], key
    rules = Counter(line["query"]["rule"] for line in lines)
    assert rules == report.training == {"heading": 1, "caption": 1, "cell": 4, "sentence": 1, "question": 6}
    (positive,) = lines[0]["positives"]
    assert (positive["path"], positive["page"], positive["file"]) == (str(file), 0, "harbour.pdf")
    assert positive["id"] == f"{positive['sha256'][:16]}#p0" == lines[0]["query"]["labelled"][0]
    assert PROSE[0] in positive["text"]
    assert report.valid is None
    assert not (tmp_path / "out.valid.jsonl").exists()
    assert not (tmp_path / "out.jsonl.parts").exists()
    assert len(read_examples(tmp_path / "out.jsonl")) == 13


def test_without_the_layout_model_it_is_said_what_is_not_made(tmp_path) -> None:
    pytest.importorskip("pypdfium2")
    harbour(tmp_path / "docs" / "harbour.pdf")
    reader = ReaderSettings(workers=1, ocr="off", renderer="pdfium")
    report = pairs.make_pairs(tmp_path / "docs", tmp_path / "out.jsonl", settings=ALL, reader=reader)
    lines = made(tmp_path / "out.jsonl")
    assert {line["query"]["rule"] for line in lines} <= {"caption", "sentence", "question"}
    assert PROSE[0] in {line["query"]["source"] for line in lines}
    assert "1 page: structure by plain rules" in report.table()


def test_dropped_and_replaced_words_come_from_the_sentence(tmp_path) -> None:
    prose(tmp_path / "docs" / "a.pdf", [PROSE[:4], PROSE[4:]])
    settings = PairSettings(rules=("sentence",), per_page=50, hold_out=0.0, drop=0.3, replace=0.2)
    make_pairs(tmp_path / "docs", tmp_path / "out.jsonl", settings=settings)
    queries = [line["query"] for line in made(tmp_path / "out.jsonl")]
    assert {query["source"] for query in queries} <= set(PROSE)
    assert len(queries) == 8
    for query in queries:
        sentence = query["source"].split()
        new = dict(query["replaced"])
        assert len(query["dropped"]) == round(0.3 * len(sentence))
        assert len(query["replaced"]) == round(0.2 * len(sentence))
        left = Counter(sentence) - Counter(query["dropped"]) - Counter(new.keys())
        put_in = Counter(query["text"].split()) - Counter(new.values())
        assert Counter(word.rstrip(".") for word in left.elements()) == put_in
        everything = {word.rstrip(".").lower() for text in PROSE for word in text.split()}
        assert set(new.values()) <= everything - {word.lower() for word in sentence}


def test_the_same_files_and_seed_give_the_same_bytes(tmp_path) -> None:
    for name in ("one", "two"):
        prose(tmp_path / "docs" / f"{name}.pdf", PROSE[:4] if name == "one" else PROSE[4:])
    settings = PairSettings(hold_out=0.5)
    for name in ("a", "b"):
        make_pairs(tmp_path / "docs", tmp_path / f"{name}.jsonl", settings=settings)
    make_pairs(tmp_path / "docs", tmp_path / "c.jsonl", settings=PairSettings(hold_out=0.5, seed=1))
    data = {name: (tmp_path / f"{name}.jsonl").read_bytes() for name in "abc"}
    assert data["a"] == data["b"]
    assert data["a"] != data["c"]
    assert (tmp_path / "a.valid.jsonl").read_bytes() == (tmp_path / "b.valid.jsonl").read_bytes()


def test_held_out_documents_are_disjoint_and_do_not_depend_on_names(tmp_path) -> None:
    for number, text in enumerate(PROSE):
        prose(tmp_path / "docs" / f"{number}.pdf", [text])
        prose(tmp_path / "renamed" / f"{9 - number}-x.pdf", [text])
    sides = []
    for folder in ("docs", "renamed"):
        settings = PairSettings(hold_out=0.25)
        report = make_pairs(tmp_path / folder, tmp_path / f"{folder}.jsonl", settings=settings)
        lines = {side: made(tmp_path / f"{folder}{side}.jsonl") for side in ("", ".valid")}
        digests = {
            side: {
                item["sha256"]
                for line in lines[side]
                for item in line["positives"] + line["removed"] + line["negatives"]
            }
            for side in lines
        }
        assert digests[""] & digests[".valid"] == set()
        assert (len(digests[""]), len(digests[".valid"]), len(report.held_out)) == (6, 2, 2)
        sides.append({line["query"]["source"] for line in lines[".valid"]})
    assert sides[0] == sides[1]


def test_a_running_header_is_never_a_query(tmp_path) -> None:
    pages = []
    for number, text in enumerate(PROSE[:4]):
        pages.append(
            [
                (72, 40, "Annual gazette of the northern waterways", 16),
                (72, 300, text, 9),
                (72, 770, "Printed for the members of the society only and never to be copied.", 9),
                (500, 770, f"Page {number + 1} of 4", 9),
            ]
        )
    place(tmp_path / "docs" / "a.pdf", pages)
    report = make_pairs(tmp_path / "docs", tmp_path / "out.jsonl", settings=ALL)
    sources = {line["query"]["source"] for line in made(tmp_path / "out.jsonl")}
    assert sources == set(PROSE[:4])
    assert report.running_headers == 12


def test_every_box_is_on_the_page_and_around_the_words(tmp_path) -> None:
    file = harbour(tmp_path / "docs" / "a.pdf")
    make_pairs(file, tmp_path / "out.jsonl", settings=ALL)
    words = words_at(file, 0)
    for line in made(tmp_path / "out.jsonl"):
        boxes = line["query"]["boxes"]
        assert boxes == line["positives"][0]["boxes"] != []
        inside = []
        for x0, y0, x1, y1 in boxes:
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
            for word, (a, b, c, d) in words:
                if x0 <= (a + c) / 2 <= x1 and y0 <= (b + d) / 2 <= y1:
                    inside.append(word)
        assert inside == line["query"]["source"].split()


def test_a_near_duplicate_is_gone_and_its_page_is_no_negative(tmp_path) -> None:
    """The first of two nearly equal headings stays; where four pages say it, none does."""
    heads = ["Ships in the old harbour", "Ships in the old Harbours", "Common notes of the office"]
    prose(tmp_path / "docs" / "x.pdf", [PROSE[7]])
    pages = [
        [(72, 200, heads[0], 18), (72, 300, PROSE[0], 9)],
        [(72, 200, heads[1], 18), (72, 300, PROSE[1], 9)],
        *[[(72, 200, heads[2], 18), (72, 300, text, 9)] for text in PROSE[2:6]],
    ]
    place(tmp_path / "docs" / "a.pdf", pages)
    settings = PairSettings(rules=("heading",), hold_out=0.0)
    report = make_pairs(tmp_path / "docs", tmp_path / "out.jsonl", settings=settings)
    (line,) = made(tmp_path / "out.jsonl")
    assert line["query"]["text"] == heads[0]
    assert [(one["page"], one["reason"]) for one in line["removed"]] == [(1, "gives nearly the same query")]
    assert report.dropped == {"near-duplicate": 1, "given by 4 pages or more": 4}


def test_a_copied_page_gives_no_pairs_and_is_no_negative(tmp_path) -> None:
    long = PROSE[:2]
    prose(tmp_path / "docs" / "a.pdf", [long, PROSE[2]])
    prose(tmp_path / "docs" / "b.pdf", [PROSE[3], long])
    settings = PairSettings(rules=("sentence",), hold_out=0.0)
    report = make_pairs(tmp_path / "docs", tmp_path / "out.jsonl", settings=settings)
    lines = made(tmp_path / "out.jsonl")
    assert [(one["positives"][0]["file"], one["positives"][0]["page"]) for one in lines] == [
        ("a.pdf", 0),
        ("a.pdf", 0),
        ("a.pdf", 1),
        ("b.pdf", 0),
    ]
    assert [[(one["file"], one["page"], one["reason"]) for one in line["removed"]] for line in lines] == [
        [("b.pdf", 1, "near-copy of the positive")],
        [("b.pdf", 1, "near-copy of the positive")],
        [],
        [],
    ]
    assert report.dropped["of a page that copies another"] == 2


def test_limits_of_a_page_and_of_a_document(tmp_path) -> None:
    harbour(tmp_path / "docs" / "a.pdf")
    settings = PairSettings(per_page=5, hold_out=0.0)
    make_pairs(tmp_path / "docs", tmp_path / "page.jsonl", settings=settings)
    rules = Counter(line["query"]["rule"] for line in made(tmp_path / "page.jsonl"))
    assert rules == {"heading": 1, "caption": 1, "cell": 1, "sentence": 1, "question": 1}
    prose(tmp_path / "more" / "a.pdf", [PROSE[:4], PROSE[4:]])
    settings = PairSettings(rules=("sentence",), per_document=4, hold_out=0.0)
    make_pairs(tmp_path / "more", tmp_path / "doc.jsonl", settings=settings)
    pages = Counter(line["positives"][0]["page"] for line in made(tmp_path / "doc.jsonl"))
    assert pages == {0: 2, 1: 2}


def test_a_bad_file_is_named_and_the_others_go_on(tmp_path, capsys) -> None:
    prose(tmp_path / "docs" / "good.pdf", PROSE[:2])
    (tmp_path / "docs" / "torn.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (tmp_path / "docs" / "notes.bin").write_bytes(b"\x00\x01\x02 no document")
    target = tmp_path / "docs" / "out.jsonl"  # in the folder that is read, on purpose
    command = ["train", "make-pairs", str(tmp_path / "docs"), "--workers", "1", "--ocr", "off"]
    assert main([*command, "--to", str(target)]) == 3
    said = capsys.readouterr().out
    assert "1 documents, 2 pages" in said and "held out: nothing" in said
    assert "torn.pdf: " in said and "notes.bin: " in said and "Skipped (2)" in said
    assert f"in {target}" in said
    before = target.read_bytes()
    assert main([*command, "--to", str(target), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert sum(report["training"].values()) == len(before.splitlines())
    assert target.read_bytes() == before


def test_bad_input_is_one_clear_error(tmp_path, capsys) -> None:
    with pytest.raises(ValueError, match=r"at least one document.*no such file or folder"):
        make_pairs(tmp_path / "none", tmp_path / "out.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="at least one document to read, got none in"):
        make_pairs(tmp_path / "empty", tmp_path / "out.jsonl")
    prose(tmp_path / "bare" / "a.pdf", ["Hello"])
    with pytest.raises(ValueError, match="at least one pair, got none from 1 documents with 1 pages"):
        make_pairs(tmp_path / "bare", tmp_path / "out.jsonl")
    (tmp_path / "mine.txt").write_text("dear diary")
    with pytest.raises(ValueError, match=r"mine.txt must be a file of pairs or not exist"):
        make_pairs(tmp_path / "bare", tmp_path / "mine.txt")
    with pytest.raises(ValueError, match="file of their own"):
        make_pairs(tmp_path / "bare", tmp_path / "out.jsonl", valid=tmp_path / "out.jsonl")
    with FileLock(str(tmp_path / "out.jsonl.lock")), pytest.raises(BlockingIOError, match="one process"):
        make_pairs(tmp_path / "bare", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    for value, words in (({"rules": ("x",)}, "rules must be some of"), ({"hold_out": 1.0}, "hold_out")):
        with pytest.raises(ValueError, match=words):
            PairSettings(**value)
    assert main(["train", "make-pairs", "x", "--to", str(tmp_path / "o"), "--model", "m"]) == 2
    assert "need --url" in capsys.readouterr().err


def test_making_pairs_needs_no_torch() -> None:
    code = (
        "import sys, mmrag.training.pairs, mmrag.training.curate, mmrag.cli.train; "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_what_the_training_side_asks_the_held_out_side_loses(tmp_path) -> None:
    """No near-duplicate, no copied page, and no mention of the other side's pages crosses over."""
    head = [(72, 200, "Ships in the old harbour", 18)]
    copy = [(72, 300 + 14 * at, text, 9) for at, text in enumerate(PROSE[:2])]
    place(tmp_path / "docs" / "a.pdf", [[*head, (72, 300, PROSE[2], 9)], copy])
    place(tmp_path / "docs" / "b.pdf", [[*head, (72, 300, PROSE[3], 9)], copy])
    settings = PairSettings(rules=("heading", "sentence"), hold_out=0.5)
    report = make_pairs(tmp_path / "docs", tmp_path / "out.jsonl", settings=settings)
    training, validation = made(tmp_path / "out.jsonl"), made(tmp_path / "out.valid.jsonl")
    assert Counter(line["query"]["rule"] for line in training) == {"heading": 1, "sentence": 3}
    assert [line["query"]["source"] for line in validation] == [
        PROSE[3 if report.held_out == ["b.pdf"] else 2]
    ]
    assert [line["removed"] for line in training + validation] == [[]] * 5
    assert report.dropped == {"near-duplicate": 1, "of a page that copies another": 2}
