"""`mmrag evaluate --answers` as a shell sees it: what is measured, kept, and continued."""

import json

import pytest

from mmrag.cli import main
from mmrag.cli.evaluate import without_abstention
from mmrag.evaluation import read_answers


def call(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def pack(tmp_path_factory, make_pdf):
    """Two questions and one that is not answered, of a file of two pages; options of its index."""
    folder = tmp_path_factory.mktemp("evaluate")
    make_pdf(
        folder / "pack" / "documents" / "ship.pdf",
        ["The ferry Aurora carries 420 passengers.", "It was built in Turku, in the old yard by the river."],
    )
    lines = [
        {"id": "count", "question": "How many passengers does the ferry carry?", "evidence_pages": [0]},
        {"id": "where", "question": "Where was it built?", "evidence_pages": [1], "answers": ["Turku"]},
        {"id": "none", "question": "What does a dog cost?", "evidence_pages": [], "answerable": False},
    ]
    lines[0] |= {"answers": ["420"], "answer_format": "Int"}
    lines[0]["evidence_boxes"] = [{"page": 0, "page_size": [612, 792], "bbox": [70, 78, 300, 94]}]
    text = "\n".join(json.dumps({"doc": "ship.pdf", "answerable": True, **line}) for line in lines)
    (folder / "pack" / "queries.jsonl").write_text(text, encoding="utf-8")
    assert (
        main(["index", str(folder / "pack" / "documents"), "--index", str(folder / "i"), "--ocr", "off"]) == 0
    )
    return folder / "pack", ("--index", folder / "i", "--ocr", "off")


def test_answers_are_measured_alone(capsys, tmp_path, pack):
    folder, options = pack
    target, kept = tmp_path / "report.json", tmp_path / "answers.jsonl"
    arguments = ("evaluate", folder, *options, "--answers-only", "--to", target, "--answers-to", kept)
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    assert "nDCG" not in out
    data = json.loads(target.read_text(encoding="utf-8"))
    assert set(data) == {"answers"}
    figures = data["answers"]["scopes"]["document"]["all"]
    assert figures["first_quote"] | {"low": 0, "high": 0} == {"mean": 1, "low": 0, "high": 0, "count": 2}
    assert figures["first_page"]["mean"] == 1
    assert figures["words_first_coverage"]["mean"] > 0.5
    settings, lines = read_answers(kept)
    assert (settings["answerer"], settings["k"], len(lines)) == ("offline", 5, 6)
    content = kept.read_text(encoding="utf-8")
    assert call(capsys, *arguments)[:2] == (0, out)  # nothing is asked again: not even the seconds differ
    assert kept.read_text(encoding="utf-8") == content
    code, _, error = call(capsys, *arguments, "--k", "1")
    assert (code, "got other settings (k: 5 there, 1 now)" in error) == (1, True)


def test_search_and_answers_in_one_report(capsys, pack):
    folder, options = pack
    code, out, _ = call(capsys, "evaluate", folder, *options, "--answers", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["scopes"]["pack"]["all"]["count"] == 2
    assert set(data["answers"]["scopes"]) == {"pack", "document"}


def test_a_server_is_measured_on_chosen_questions(capsys, tmp_path, pack, fake_server):
    folder, options = pack
    ids, kept = tmp_path / "ids.txt", tmp_path / "answers.jsonl"
    ids.write_text("# drawn by hand\nwhere\n\n", encoding="utf-8")
    citation = {"page": 1, "quote": "built in Turku"}
    said = {"answerable": True, "answer": "In Turku [1].", "citations": [citation]}
    fake_server.chat(json.dumps(said))
    server = ("--answerer-url", fake_server.url, "--answerer-model", "m", "--answerer-text-only")
    chosen = ("--questions", ids, "--answer-scope", "document", "--answers-to", kept)
    code, out, error = call(capsys, "evaluate", folder, *options, *server, *chosen, "--answers-only")
    assert code == 0, error
    assert "tokens a question 11 read, 5 written" in out
    settings, lines = read_answers(kept)
    assert (settings["answerer"], settings["answerer_model"]) == ("served", "m")
    assert "answerer_url" not in settings  # it may move
    (line,) = lines.values()
    assert (line.key, line.prompt_tokens, line.threshold) == (("where", "document"), 11, None)
    assert line.seconds["total"] > 0
    assert len(fake_server.requests) == 1
    assert call(capsys, "evaluate", folder, *options, *server, *chosen, "--answers-only")[0] == 0
    assert len(fake_server.requests) == 1  # the run was whole


def test_a_question_that_is_not_there_is_named(capsys, tmp_path, pack):
    folder, options = pack
    ids = tmp_path / "ids.txt"
    ids.write_text("where\nwho\n", encoding="utf-8")
    code, _, error = call(capsys, "evaluate", folder, *options, "--questions", ids)
    assert (code, "got 'who'. Write one id a line" in error) == (1, True)


def test_abstention_is_switched_off_on_a_copy():
    class Shy:
        threshold = 0.4

    shy = Shy()
    outspoken, threshold = without_abstention(shy)
    assert (outspoken.threshold, threshold, shy.threshold) == (0.0, 0.4, 0.4)
    assert without_abstention(object())[1] is None


def test_a_run_is_compared_with_an_earlier_report(capsys, tmp_path, pack):
    folder, options = pack
    first = tmp_path / "first.json"
    assert call(capsys, "evaluate", folder, *options, "--rerank", "none", "--to", first)[0] == 0
    both = ("--against", first, "--rerank", "none")
    code, out, error = call(capsys, "evaluate", folder, *options, *both, "--to", tmp_path / "second.json")
    assert code == 0, error
    assert "nDCG@5 is the same as in first.json on each of 2 questions." in out
    data = json.loads((tmp_path / "second.json").read_text(encoding="utf-8"))
    assert len(data["against"]["conclusions"]) == 2
    ids = tmp_path / "ids.txt"
    ids.write_text("where\n", encoding="utf-8")
    code, _, error = call(capsys, "evaluate", folder, *options, *both, "--questions", ids)
    assert (code, "first.json must be of the same 1 questions" in error) == (1, True)


def test_a_page_shows_every_question_and_the_pages_of_failures(capsys, tmp_path, pack):
    folder, options = pack
    target = tmp_path / "report.html"
    how = ("--answers", "--threshold", "1", "--html", target)  # nothing is certain enough: all is silence
    code, _, error = call(capsys, "evaluate", folder, *options, *how)
    assert code == 0, error
    content = target.read_text(encoding="utf-8")
    assert "How many passengers does the ferry carry?" in content
    assert content.count('src="data:image/jpeg;base64,') >= 2
    assert "reranker" in content and "Of 3 answers: 1 rightly silent, 2 silent." in content


def test_a_table_beside_its_documents_is_measured(capsys, tmp_path, make_pdf):
    folder = tmp_path / "mine"
    make_pdf(folder / "ship.pdf", ["The ferry Aurora carries 420 passengers.", "It was built in Turku."])
    rows = [
        "question;file;page;answer",
        "Where was the ferry built?;ship.pdf;2;Turku",
        "How many decks?;ship.pdf;9;",
    ]
    (folder / "questions.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    code, out, error = call(capsys, "evaluate", folder, "--ocr", "off", "--rerank", "none", "--json")
    assert code == 0, error
    data = json.loads(out)
    assert [row["id"] for row in data["per_question"]] == ["line-2", "line-3"]
    assert data["per_question"][0]["pack"]["recall@5"] == 1
    pages = {tuple(page) for row in data["per_question"] for page in row["rankings"]["pack"]}
    assert pages == {("ship.pdf", 0), ("ship.pdf", 1)}  # the table itself is no document
    assert "1 questions name pages that their documents do not have" in error
    assert "line-3: page 9 of ship.pdf, which has 2" in error
