"""The table of settings: its figures are those of the plain report at each setting."""

from __future__ import annotations

import json
from itertools import product
from math import log2
from pathlib import Path

import numpy as np
import pytest
import table as command
from table import RememberingReranker, index_folders, search_all, ways_of_reading
from table_report import BUDGETS, INPUTS, WORDS_ALONE, Setting, clipped, collect, table

from mmrag.cli import main
from mmrag.embedders.text import TextEmbedder
from mmrag.errors import IndexMismatchError
from mmrag.evaluation import evaluate, load_pack
from mmrag.pipeline import DocumentQA
from mmrag.rerank.local import LocalReranker
from mmrag.types import Budget

PAGES = {
    "ship.pdf": ["The ferry Aurora carries 420 cars.", "Aurora was built in Turku.", "Crew: twelve people."],
    "tea.pdf": ["Green tea is steeped at 80 degrees.", "Black tea is boiled.", "Tea comes from China."],
}
QUESTIONS = [
    ("Where was the ferry built?", "ship.pdf", 1, "human"),
    ("How many work on the ferry?", "ship.pdf", 2, "a model"),
    ("At which temperature is green tea made?", "tea.pdf", 0, "human"),
    ("From which country is it?", "tea.pdf", 2, "a model"),
]


def write_pack(folder, make_pdf):
    for name, pages in PAGES.items():
        make_pdf(folder / "documents" / name, pages)
    lines = [
        {
            "id": f"q{number}",
            "question": question,
            "doc": doc,
            "answerable": True,
            "evidence_pages": [page],
            "written_by": author,
        }
        for number, (question, doc, page, author) in enumerate(QUESTIONS)
    ]
    unanswerable = {"id": "no", "question": "Who won?", "doc": "tea.pdf", "answerable": False}
    lines.append(unanswerable | {"evidence_pages": []})
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_pdf):
    return write_pack(tmp_path_factory.mktemp("table") / "pack", make_pdf)


@pytest.fixture(scope="module")
def qa(folder, embedder):
    from mmrag.documents import ReaderSettings

    path = folder.parent / "index"
    with DocumentQA.open(path, embedder=embedder, reader=ReaderSettings(ocr="off", workers=1)) as qa:
        qa.add(folder / "documents")
        yield qa


class Reading(TextEmbedder):
    """A text encoder in three ways of reading: each has windows of its own."""

    def __init__(self, folder: Path, inputs: str = "both") -> None:
        window = {"text": 256, "pixels": 4, "both": 16}[inputs]
        super().__init__(folder, window=window, stride=window, threads=1)
        self.inputs = inputs
        self.asked: list[str] = []

    def with_inputs(self, inputs: str) -> Reading:
        return Reading(self.model_dir, inputs)

    def encode_query(self, queries, **options):
        self.asked += [query.text for query in queries]
        return super().encode_query(queries, **options)


# ---- rankings to a table -----------------------------------------------------------------------------

FIRST, SECOND = Setting("text", Budget(1, 1)), Setting("text", Budget(1, 8))


def places(*ranks):
    """Of each question a ranking with its evidence page at this rank."""

    def search(question, within):
        (rank, doc, page) = next(
            (rank, doc, page)
            for rank, (asked, doc, page, _) in zip(ranks, QUESTIONS, strict=True)
            if asked == question
        )
        return [("other.pdf", n) for n in range(rank - 1)] + [(doc, page)]

    return search


def gain(rank):
    return 1 / log2(rank + 1)


def test_rows_and_steps_by_hand(folder):
    pack = load_pack(folder)
    searches = {FIRST: places(1, 2, 3, 4), SECOND: places(1, 1, 3, 5)}

    def search(question, within):
        return {setting: one(question, within) for setting, one in searches.items()}

    made = table(pack, collect(pack, search))
    means = [row.report.scopes["document"]["all"].figures["ndcg@5"].mean for row in made.rows]
    assert means == pytest.approx(
        [np.mean([1, gain(2), gain(3), gain(4)]), np.mean([1, 1, gain(3), gain(5)])]
    )
    (step,) = made.steps
    differences = [0, 1 - gain(2), 0, gain(5) - gain(4)]
    human = next(one for one in step.gains if (one.scope, one.group) == ("pack", "human-written"))
    everyone = next(one for one in step.gains if (one.scope, one.group) == ("pack", "all"))
    assert (step.setting, step.smallest) == (SECOND, Budget(1, 1))
    assert everyone.gain.mean == pytest.approx(np.mean(differences))
    assert (human.count, human.gain.mean) == (2, pytest.approx(np.mean([differences[0], differences[2]])))


def test_a_row_is_the_report_of_its_rankings(folder):
    pack = load_pack(folder)
    made = table(pack, collect(pack, lambda *asked: {FIRST: places(1, 2, 3, 4)(*asked)}), samples=500, seed=3)
    plain = evaluate(pack, places(1, 2, 3, 4), samples=500, seed=3)
    assert made.rows[0].report.to_dict() | {"seconds": 0} == plain.to_dict() | {"seconds": 0}


def test_data_has_counts_intervals_and_every_question(folder):
    pack = load_pack(folder)
    data = table(
        pack, collect(pack, lambda *asked: {FIRST: places(1, 2, 3, 4)(*asked)}), notes=["x"]
    ).to_dict()
    (row,) = json.loads(json.dumps(data))["rows"]
    assert (data["ids"], data["answerable"], data["notes"]) == (["q0", "q1", "q2", "q3"], 4, ["x"])
    assert row["budget"] == [1, 1]
    assert (row["input"], row["bm25"], row["rerank"]) == ("text", False, "")
    assert row["scopes"]["pack"]["human-written"]["count"] == 2
    assert set(row["scopes"]["pack"]["all"]["figures"]["ndcg@5"]) == {"mean", "low", "high"}
    assert row["each_ndcg@5"]["document"] == pytest.approx([1, gain(2), gain(3), gain(4)])


def test_the_largest_table_fits_its_page_and_says_what_it_has_no_question_for(folder):
    pack = load_pack(folder)
    kinds = [WORDS_ALONE, *(Setting(i, b, w) for i, b, w in product(INPUTS, BUDGETS, (False, True)))]
    settings = [*kinds, *(Setting(one.input, one.budget, one.words, "local") for one in kinds)]
    ranked = collect(pack, lambda *asked: dict.fromkeys(settings, places(1, 2, 3, 4)(*asked)))
    text = table(pack, ranked, samples=10).text()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110
    mean, human = np.mean([1, gain(2), gain(3), gain(4)]), np.mean([1, gain(3)])
    rows = [line for line in lines if line.startswith("pixels  16,64   fused")]
    assert len(rows) == 2  # whole pack, within document
    assert rows[0].count(f"{mean:.3f} [") == 2  # without and with reranking
    assert rows[0].count(f"]{human:>8.3f}      -") == 2  # no image-only question
    assert sum(line.startswith("-       -       alone") for line in lines) == 2


def test_rankings_that_are_missing_are_told(folder):
    pack = load_pack(folder)
    found = collect(pack, lambda *asked: {FIRST: places(1, 2, 3, 4)(*asked)})
    del found[FIRST][QUESTIONS[1][0], None]
    with pytest.raises(ValueError, match=r"needs a ranking .* got none of 'How many work on the ferry"):
        table(pack, found)
    with pytest.raises(ValueError, match="at least one setting"):
        table(pack, {})


def test_budgets_are_clipped_and_come_once():
    assert clipped(BUDGETS, Budget(1, 64)) == tuple(Budget(1, d) for d in (1, 4, 8, 16, 64))
    assert clipped(BUDGETS, Budget(4, 8)) == BUDGETS[:3]
    assert clipped(BUDGETS, Budget(1, 1)) == (Budget(1, 1),)
    assert clipped(BUDGETS, Budget(64, 64)) == BUDGETS


# ---- one index at all settings -----------------------------------------------------------------------


def test_every_setting_ranks_as_a_search_of_its_own(folder, qa):
    budgets = (Budget(1, 1), Budget(1, 4))
    plain = LocalReranker(depth=3, threads=1)
    judge = RememberingReranker(plain)
    search = search_all(qa, "text", budgets, reranker=judge, depth=3)
    pairs = 0
    both = "Does the ferry carry tea?"  # words of both files: within one, the other must be out
    for question, doc in [*((one[0], one[1]) for one in QUESTIONS), (both, "ship.pdf"), (both, "tea.pdf")]:
        for within in (None, (doc,)):
            found = search(question, within)
            assert len(found) == 2 * (1 + 2 * len(budgets))
            for setting, ranked in found.items():
                ranking = qa.search(
                    question,
                    k=10,
                    budget=setting.budget,
                    filter=None if within is None else {"file_name": {"$in": list(within)}},
                    channels=("text",) * setting.words + ("vectors",) * (setting.budget is not None),
                    rerank=plain if setting.rerank else False,
                )
                want = [(one.page.source.name, one.page.number) for one in ranking]
                assert ranked == want, (question, within, setting)
                pairs += 3 if setting.rerank else 0
    assert judge.read <= (len(QUESTIONS) + 1) * 6 < pairs


def test_a_pool_deeper_than_the_metrics_is_judged_whole(folder, text_encoder):
    judge = RememberingReranker(LocalReranker(depth=12, threads=1))
    with DocumentQA.open(folder.parent / "deep", embedder=Reading(text_encoder, "text"), reranker=None) as qa:
        qa.add_texts([f"Tea of the kind {number}." for number in range(14)])
        search_all(qa, "text", (Budget(1, 1),), reranker=judge, depth=12)("tea", None)
    assert judge.read + judge.remembered == 3 * 12  # words, vectors, both


def test_a_question_is_encoded_once_for_all_settings(folder, text_encoder):
    embedder = Reading(text_encoder, "text")
    with DocumentQA.open(folder.parent / "once", embedder=embedder, reranker=None) as qa:
        qa.add_texts(["tea", "ferry"])
        search_all(qa, "text", BUDGETS)("What is tea?", None)
        search_all(qa, "text", BUDGETS)("What is a ferry?", None)
    assert embedder.asked == ["What is tea?", "What is a ferry?"]


def test_rows_that_are_no_prefix_are_searched_whole(folder, text_encoder):
    embedder = Reading(text_encoder, "text")
    embedder.nested = False
    with DocumentQA.open(folder.parent / "flat", embedder=embedder, reranker=None) as qa:
        qa.add_texts(["tea"])
        budgets = {one.budget for one in search_all(qa, "text", BUDGETS)("tea", None)}
    assert budgets == {None, embedder.budget}


def test_how_an_embedder_reads_pages(embedder, text_encoder):
    inputs, made = ways_of_reading(embedder)
    assert (inputs, made("text")) == (("text",), embedder)
    own = Reading(text_encoder, "pixels")
    inputs, made = ways_of_reading(own)
    assert inputs == INPUTS
    assert made("pixels") is own
    assert made("text").inputs == "text"


def test_an_index_that_is_there_counts_as_the_input_that_made_it(tmp_path, text_encoder):
    inputs, made = ways_of_reading(Reading(text_encoder, "both"))
    apart = [(name, tmp_path / name) for name in INPUTS]
    assert index_folders(tmp_path, INPUTS, inputs, made) == apart
    DocumentQA.open(tmp_path, embedder=made("pixels")).close()
    assert index_folders(tmp_path, ("text", "pixels"), inputs, made) == [apart[0], ("pixels", tmp_path)]
    assert index_folders(tmp_path, ("text",), inputs, made) == apart[:1]
    other = ways_of_reading(TextEmbedder(text_encoder, window=8, stride=8))
    with pytest.raises(IndexMismatchError, match="was built with"):
        index_folders(tmp_path, ("text",), *other)


# ---- the command -------------------------------------------------------------------------------------


def call(capsys, *arguments):
    command.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return printed.out, printed.err


def test_the_command_measures_what_mmrag_evaluate_does(capsys, folder, qa, tmp_path, text_encoder):
    index, target = tmp_path / "index", tmp_path / "table.json"
    options = (folder, "--ocr", "off", "--rerank", "local", "--rerank-top", 3, "--embedder", text_encoder)
    out, _ = call(capsys, *options, "--budgets", "16,64", "1,1", "--index", index, "--to", target)
    assert "text    1,1     fused" in out
    data = json.loads(target.read_text())
    assert [row["budget"] for row in data["rows"]] == [None] * 2 + [[1, 64]] * 4 + [[1, 1]] * 4
    for budget, channels in (("1,1", "both"), (None, "vectors"), (None, "text")):
        at = ["--channels", channels] + (["--budget", budget] if budget else [])
        arguments = ("evaluate", *options, "--index", index / "text", "--json", *at)
        assert main([str(argument) for argument in arguments]) == 0
        plain = json.loads(capsys.readouterr().out)
        want = None if channels == "text" else [1, 1] if budget else [1, 64]
        for rerank, report in (("", plain["without_reranking"]), ("local", plain)):
            setting = {"budget": want, "bm25": channels != "vectors", "rerank": rerank}
            (row,) = (row for row in data["rows"] if row.items() >= setting.items())
            assert row["scopes"] == report["scopes"], setting


def test_the_command_keeps_an_index_for_each_input_and_uses_it_again(
    capsys, folder, tmp_path, monkeypatch, text_encoder
):
    monkeypatch.setattr(command, "load_embedder", lambda *_, **__: Reading(text_encoder, "both"))
    options = (folder, "--ocr", "off", "--budgets", "1,1", "4,4", "--index", tmp_path, "--json")
    first, again = (call(capsys, *options, "--inputs", names) for names in ("text,both", "both,pixels"))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["both", "pixels", "text"]
    assert "both: 2 files added" in first[1]
    assert "both: 0 files added, 2 unchanged" in again[1]
    assert "pixels: 2 files added" in again[1]
    rows, later = (json.loads(printed)["rows"] for printed, _ in (first, again))
    assert [row["input"] for row in rows] == ["", *["text"] * 4, *["both"] * 4]
    assert [row for row in rows if row["input"] == "both"] == [r for r in later if r["input"] == "both"]
    assert len({json.dumps(row["scopes"]) for row in rows}) > 1  # the inputs and budgets do differ


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--inputs", "words"), "inputs must be of text, pixels and both"),
        (("--budgets", "1"), "a budget must be like 16,64, got '1'"),
    ],
)
def test_what_cannot_be_measured_is_wrong_usage(capsys, folder, arguments, words):
    with pytest.raises(SystemExit) as stop:
        call(capsys, folder, *arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_an_embedder_of_text_has_no_other_input(capsys, folder, text_encoder):
    with pytest.raises(SystemExit) as stop:
        call(capsys, folder, "--inputs", "pixels", "--embedder", text_encoder)
    assert stop.value.code == 2
    assert "--inputs must be of text for 'bge-small (text only)', got" in capsys.readouterr().err
