"""The public pack: what templates ask stands on one page alone; the list has nothing that was trained on."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path

import pymupdf
import pytest

pytest.importorskip("tomllib", reason="needs Python 3.11")

from mmrag.evaluation import load_pack

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import make_public_pack  # noqa: E402
from public import asking, documents, templates  # noqa: E402
from public.pages import Document, TextBlock, TextPage, read  # noqa: E402

LINES = {
    1: ["Contents", *[f"{n} A chapter about pumps . . . . . . . . {n + 2}" for n in range(1, 12)]],
    2: [
        "2 Winter storage of pumps",
        "A bleed screw is a small valve that lets air out of the casing of the pump.",
    ],
    3: ["--dry-run  Print what would be pumped and leave every valve.", "maxPressure", "default: 12"],
    4: ["Figure 3: Pressure of the casing over the days of a winter", "A bleed screw is used at the top."],
    5: ["The pressure gauge wobbles whenever the casing cools below the freezing point of brine quickly."],
    6: ["The casing and its brine gauge wobbles are checked in the freezing point tests of each winter."],
}


@pytest.fixture(scope="module")
def manual(tmp_path_factory) -> Document:
    """A manual of seven pages, written out here."""
    path = tmp_path_factory.mktemp("manual") / "pumps.pdf"
    with pymupdf.open() as pdf:
        for number in range(7):
            page = pdf.new_page()
            for at, line in enumerate(LINES.get(number, ["The title of it all"])):
                page.insert_text((72, 72 + 40 * at), line)
        pdf.set_toc([[1, "2 Winter storage of pumps", 3], [1, "A chapter about pumps", 2]])
        pdf.save(path)
    return read(path, "pump manual")


def by_kind(document: Document) -> dict[str, list[templates.Draft]]:
    found: dict[str, list[templates.Draft]] = {}
    for draft in templates.drafts(document, random.Random(0)):
        found.setdefault(draft.kind, []).append(draft)
    return found


def test_each_template_finds_its_page(manual) -> None:
    found = by_kind(manual)
    assert [(d.page, d.key) for d in found["section"]] == [
        (2, "winter storage of pumps")
    ]  # not of the contents
    assert [(d.page, d.question) for d in found["definition"]] == [
        (2, "What is a bleed screw, according to the pump manual?")
    ]
    assert [(d.page, d.key) for d in found["option"]] == [(3, "--dry-run")]
    assert [(d.page, d.key, d.answers) for d in found["default"]] == [(3, "maxpressure", ("12",))]
    assert [d.page for d in found["caption"]] == [4]


def test_what_two_pages_say_is_not_asked(manual) -> None:
    said = TextBlock(
        ("A bleed screw is a small valve that lets air out of the casing.",), (0, 0, 9, 9), False
    )
    again = TextPage(7, (said,), (612, 792))
    assert "definition" not in by_kind(Document(manual.file, manual.title, (*manual.pages, again), ()))


def test_lines_are_a_pack_and_the_same_again(manual, tmp_path) -> None:
    lines = make_public_pack.question_lines([manual])
    assert lines == make_public_pack.question_lines([manual])
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / manual.file).write_bytes(b"%PDF")
    make_public_pack.write_lines(tmp_path / "queries.jsonl", lines)
    pack = load_pack(tmp_path)
    assert len(pack.questions) == len(lines) > 1
    assert {line["written_by"] for line in lines} == {"template"}  # marked as made
    pages = Counter(page for line in lines for page in line["evidence_pages"])
    assert max(pages.values()) == 1


def test_the_unanswerable_names_what_the_other_document_lacks(manual) -> None:
    other = Document("lamps.pdf", "lamp manual", manual.pages[:1], ())
    drafts = [(manual, by_kind(manual)["default"][0]), (other, templates.Draft("section", "?", 0, "?"))]
    asked = list(templates.unanswerable(drafts, random.Random(0)))
    assert [(document.file, draft.question) for document, draft in asked] == [
        ("lamps.pdf", "What is the default of maxPressure in the lamp manual?")
    ]


def test_the_list_is_pinned_and_free_of_training() -> None:
    sources = documents.read_sources()  # raises where something was trained on
    assert {source.part for source in sources} == set(documents.PARTS)
    assert all(len(source.sha256) == 64 and source.version and source.license for source in sources)
    files = [name for source in sources for name, _ in source.files.values()]
    assert len(files) <= 2 * documents.MOST_DOCUMENTS


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('[packages.bash-doc]\npart = "public"', "trained on"),
        ('[packages.x]\npart = "secret"', "must be one of"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, entry, said) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(entry + '\nversion = "1"\nsha256 = ""\nlicense = "MIT"\nfiles = {}\n')
    with pytest.raises(ValueError, match=said):
        documents.read_sources(path)


def test_the_round_trip_wants_half_of_the_words() -> None:
    assert asking.is_same("It is 12 bar.", "12 bar")
    assert asking.is_same("the casing", "the casing of brine pumps") is False
    assert asking.is_same("not on this page", "12 bar") is False


def test_every_question_of_the_sample_has_a_verdict() -> None:
    lines = (SCRIPTS / "public" / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    verdicts = [json.loads(line) for line in lines]
    assert len({verdict["id"] for verdict in verdicts}) == len(verdicts) == 40
    assert {verdict["verdict"] for verdict in verdicts} <= {"good", "weak", "bad"}
    assert all(verdict["why"] for verdict in verdicts if verdict["verdict"] != "good")


def test_a_served_model_asks_and_must_answer_its_own_question_again(
    manual, tmp_path, fake_server, make_pdf
) -> None:
    text = "\n".join(["The bleed screw opens at 12 bar and closes at 9 bar."] * 15)
    make_pdf(tmp_path / "documents" / "pumps.pdf", ["Title", text])
    document = read(tmp_path / "documents" / "pumps.pdf", "pump manual")
    fake_server.reply(200, {"data": [{"id": "m"}]})
    fake_server.chat(
        "Q: At which pressure does the bleed screw open?\nA: at 12 bar\nQ: When does it close?\nA: 9 bar"
    )
    fake_server.chat("It opens at 12 bar.").chat("not on this page")
    lines = asking.asked_lines(tmp_path, [document], fake_server.url, 1, 0)
    assert [(line["question"], line["answers"], line["evidence_pages"]) for line in lines] == [
        ("pump manual: At which pressure does the bleed screw open?", ["at 12 bar"], [1])
    ]
    assert lines[0]["written_by"] == "model m"
