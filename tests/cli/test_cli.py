"""The command line as a shell sees it: output, exit codes, files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

import mmrag
from mmrag.cli import main
from mmrag.conversation.history import load_history


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def index(tmp_path_factory, make_pdf):
    folder = tmp_path_factory.mktemp("cli")
    make_pdf(
        folder / "docs" / "ship.pdf", ["The ferry Aurora carries 420 passengers.", "It was built in Turku."]
    )
    assert main(["index", str(folder / "docs"), "--index", str(folder / "index"), "--ocr", "off"]) == 0
    return folder / "index"


def test_search_prints_rank_score_and_place(capsys, index):
    code, out, _ = call(capsys, "search", "Where was it built?", "--index", index)
    first, snippet, *_ = out.splitlines()
    assert code == 0
    assert first.startswith("  1")
    assert "ship.pdf, page 2" in first
    assert snippet == "     It was built in Turku."


def test_search_json_is_json(capsys, index):
    code, out, _ = call(capsys, "search", "ferry", "--index", index, "--json", "--budget", "1,1", "--k", 1)
    assert code == 0
    (candidate,) = json.loads(out)["candidates"]
    assert (candidate["file"], candidate["rank"], candidate["page"] in (0, 1)) == ("ship.pdf", 1, True)


def test_a_channel_may_search_alone(capsys, index):
    for channel in ("vectors", "text"):
        options = ("--json", "--rerank", "none", "--channels", channel)
        code, out, _ = call(capsys, "search", "ferry", "--index", index, *options)
        assert code == 0
        assert {tuple(c["scores"]) for c in json.loads(out)["candidates"]} == {(channel,)}


def test_ask_writes_the_evidence(capsys, index, tmp_path):
    code, out, _ = call(
        capsys,
        "ask",
        "How many passengers does the ferry Aurora carry?",
        "--index",
        index,
        "--evidence-dir",
        tmp_path,
    )
    assert code == 0
    assert "420" in out
    assert "ship.pdf, page 1" in out
    assert str(tmp_path / "1.png") in out
    assert (tmp_path / "1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["talk.jsonl", "talk.json"])
def test_ask_goes_on_from_a_history(capsys, index, tmp_path, name):
    path = tmp_path / name
    first = ("ask", "How many passengers does the ferry Aurora carry?", "--index", index, "--history", path)
    assert call(capsys, *first)[0] == 0
    code, out, _ = call(capsys, "ask", "Where was it built?", "--index", index, "--history", path)
    assert code == 0
    assert "searched: Where was it built? passengers ferry Aurora carry" in out
    code, out, _ = call(capsys, "ask", "And when?", "--index", index, "--history", path, "--json")
    assert json.loads(out)["standalone"].startswith("And when? ")
    messages = load_history(path)
    assert [message["role"] for message in messages] == ["user", "assistant"] * 3
    assert messages[2]["standalone"] == "Where was it built? passengers ferry Aurora carry"


def test_a_history_is_of_one_question(capsys, index, tmp_path):
    files = ("--from", "a", "--to", "b", "--history", tmp_path / "c")
    code, _, err = call(capsys, "ask", *files, "--index", index)
    assert code == 2
    assert "--history is for one QUESTION" in err


def test_ask_from_a_file_answers_every_line(capsys, index, tmp_path):
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        '{"id": "a", "question": "How many passengers does the ferry Aurora carry?"}\n\n'
        '{"id": "b", "question": "Where was the ferry built?"}\n'
    )
    target = tmp_path / "predictions.jsonl"
    code, _, _ = call(capsys, "ask", "--from", questions, "--to", target, "--index", index)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert code == 0
    assert [line["id"] for line in lines] == ["a", "b"]
    assert "420" in lines[0]["answer"]
    assert not (tmp_path / "predictions.jsonl.partial").exists()


def test_a_line_that_is_no_question_is_named_and_nothing_is_written(capsys, index, tmp_path):
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "fine"}\n{"frage": "no"}\n')
    code, _, err = call(capsys, "ask", "--from", questions, "--to", tmp_path / "out.jsonl", "--index", index)
    assert code == 1
    assert "line 2" in err
    assert not list(tmp_path.glob("out*"))


def test_status_and_remove(capsys, index, tmp_path, make_pdf):
    make_pdf(tmp_path / "extra.pdf", ["Extra page."])
    assert call(capsys, "index", tmp_path / "extra.pdf", "--index", index, "--ocr", "off")[0] == 0
    code, out, _ = call(capsys, "status", "--index", index, "--json")
    assert code == 0
    assert json.loads(out)["records"] == 3
    code, out, _ = call(capsys, "remove", "extra.pdf", "--index", index)
    assert (code, "1 pages" in out) == (0, True)
    assert call(capsys, "remove", "extra.pdf", "--index", index)[0] == 1


def test_skipped_files_are_exit_code_three(capsys, tmp_path, make_pdf):
    make_pdf(tmp_path / "docs" / "good.pdf", ["Good page."])
    (tmp_path / "docs" / "empty.pdf").write_bytes(b"")
    code, out, _ = call(capsys, "index", tmp_path / "docs", "--index", tmp_path / "index", "--ocr", "off")
    assert code == 3
    assert "empty.pdf" in out
    assert "1 pages" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ask", "x", "--budget", "0,3"], "got '0,3'"),
        (["ask", "x", "--k", "0"], "Invalid value for '--k'"),
        (["ask", "x", "--filter", "{bad"], "got '{bad'"),
        (["index"], "PATH"),
        (["nonsense"], "No such command 'nonsense'"),
        (["serach"], "No such command 'serach'. Did you mean 'search'?"),
        (["train", "contrats"], "No such command 'contrats'. Did you mean 'contrast'?"),
        (["search", "x", "--bugdet", "1,1"], "No such option --bugdet. Did you mean --budget?"),
        (
            ["train", "contrast", "--config", "c.yaml", "--chek"],
            "No such option --chek. Did you mean --check?",
        ),
        (["search", "x", "--zzz"], "No such option: --zzz"),
        (["train", "make-pairs", "x"], "Missing option '--to'"),
        (["mine", "--to", "x"], "Missing option '--queries'"),
    ],
)
def test_wrong_usage_is_exit_code_two(capsys, arguments, words):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_options_that_do_not_go_together(capsys, index):
    assert call(capsys, "ask", "--index", index)[0] == 2
    assert call(capsys, "ask", "q", "--from", "f", "--index", index)[0] == 2
    assert call(capsys, "ask", " ", "--index", index)[0] == 2
    assert call(capsys, "search", "", "--index", index)[0] == 2
    assert call(capsys)[0] == 2


@pytest.mark.parametrize("command", [("ask", "q"), ("search", "q"), ("status",), ("remove", "a.pdf")])
def test_no_index_there_says_how_to_make_one(capsys, tmp_path, command):
    code, _, err = call(capsys, *command, "--index", tmp_path / "none")
    assert code == 1
    assert "mmrag index" in err
    assert not (tmp_path / "none").exists()


def test_an_input_that_is_not_there_fails_and_leaves_no_index(capsys, tmp_path, make_pdf):
    make_pdf(tmp_path / "good.pdf", ["Good page."])
    for name in ("nowhere", "*.docx"):
        inputs = (tmp_path / "good.pdf", tmp_path / name)
        code, _, err = call(capsys, "index", *inputs, "--index", tmp_path / "index")
        assert code == 1
        assert f"got {tmp_path / name}, where nothing is" in err
        assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("files", [{}, {"notes.bin": b"words"}, {"torn.pdf": b"%PDF-1.7 and then nothing"}])
def test_a_folder_in_which_nothing_can_be_read_fails_and_leaves_no_index(capsys, tmp_path, files):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (tmp_path / "there").mkdir()
    for index in (tmp_path / "new", tmp_path / "there"):
        code, out, err = call(capsys, "index", folder, "--index", index, "--ocr", "off", "--json")
        assert code == 1
        assert json.loads(out)["error"] == "DocumentError"
        assert "must hold a document that can be read, got none" in err
        assert all(name in err for name in files)
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "there").iterdir()) == []


def test_a_failed_add_leaves_an_index_that_was_there_as_it_was(capsys, index, tmp_path):
    (tmp_path / "torn.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    before = call(capsys, "status", "--index", index)
    code, _, _ = call(capsys, "index", tmp_path / "torn.pdf", "--index", index, "--ocr", "off")
    assert code == 1
    assert call(capsys, "status", "--index", index) == before


def test_the_same_files_again_are_no_failure(capsys, index):
    folder = index.parent / "docs"
    code, out, _ = call(capsys, "index", folder, "--index", index, "--ocr", "off")
    assert (code, "1 unchanged" in out) == (0, True)


def test_a_closed_pipe_is_no_error(index):
    """Bug guarded: the flush when the interpreter ends printed an error and made the exit code 120."""
    command = [sys.executable, "-m", "mmrag.cli", "status", "--json", "--index", str(index)]
    for arguments in (command, [*command[:3], "--help"], [*command[:3], "ask", "--help"]):
        run = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        run.stdout.close()  # before a byte is written: every write fails
        err = run.stderr.read().decode()
        assert (run.wait(60), err) == (0, ""), arguments


def test_mmrag_alone_prints_the_help_and_is_wrong_usage(capsys):
    code, out, err = call(capsys)
    assert code == 2
    assert "Usage: mmrag" in out + err


def test_version(capsys):
    assert call(capsys, "--version")[:2] == (0, f"mmrag {mmrag.__version__}\n")


def test_a_filter_that_means_nothing_is_named(capsys, index):
    code, _, err = call(capsys, "search", "ferry", "--index", index, "--filter", '{"page": {"$greater": 1}}')
    assert code == 1
    assert "$greater" in err


INTERRUPTED = """
import os, signal, sys, threading, time
from mmrag.cli import main
from mmrag.index import ChromaIndex

add, calls = ChromaIndex.add, []

def add_amid_a_signal(self, records):
    calls.append(len(records))
    if len(calls) == 2:  # the signal comes while the next pages are read, embedded or written
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    if len(calls) == 4:  # on a quick machine they would all be there before it
        time.sleep(600)
    add(self, records)

ChromaIndex.add = add_amid_a_signal
sys.exit(main(sys.argv[1:]))
"""
"""The command line, with a Ctrl-C at a moment that nobody chose before the fourth batch."""


def test_interrupt_leaves_a_usable_index(tmp_path, make_pdf, text_encoder):
    lines = "\n".join("All the words that a page of a long report may hold." for _ in range(35))
    path = make_pdf(tmp_path / "long.pdf", [f"Chapter {n}\n{lines}" for n in range(70)])
    embedder = ["--embedder", str(text_encoder)]  # quick; whose vectors they are changes nothing here
    arguments = ["index", str(path), "--index", str(tmp_path / "index"), *embedder]
    # A shell that starts a job in the background has it ignore SIGINT; so may whoever started us.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-c", INTERRUPTED, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=heed)
    assert run.returncode == 130, run.stderr
    assert "Traceback" not in run.stderr
    status = [sys.executable, "-m", "mmrag.cli", "status", "--json", "--index", arguments[3], *embedder]

    def shown() -> dict:
        return json.loads(subprocess.run(status, capture_output=True, text=True, check=True).stdout)

    assert 16 <= shown()["records"] <= 48
    command = [sys.executable, "-m", "mmrag.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert shown()["records"] == 70
    assert [entry["complete"] for entry in shown()["documents"]] == [True]


@pytest.mark.parametrize("command", ["search", "ask"])
def test_scores_that_are_printed_mean_the_same_under_a_filter(capsys, index, command):
    """Bug guarded: a page that a filter left alone had the score 0.00, which is relative to the others."""
    arguments = (command, "Where was it built?", "--index", index)
    pattern = r"page 2.*\((vectors [\d.]+, text [\d.]+, document [\d.]+, rerank -?[\d.]+)\)"
    (wide,) = re.findall(pattern, call(capsys, *arguments)[1])
    (alone,) = re.findall(pattern, call(capsys, *arguments, "--filter", "page=1")[1])
    assert alone == wide


# --- reranking


def test_search_reranks_and_says_what_it_cost(capsys, index):
    question = "Where was it built?"
    code, out, _ = call(capsys, "search", question, "--index", index, "--k", 1)
    assert code == 0
    best, _, cost = out.splitlines()
    assert "ship.pdf, page 2" in best
    assert "rerank " in best
    assert cost.startswith("reranked: ")
    assert cost.endswith(" s (the first 2 candidates were judged)")


def test_reranking_is_in_the_json(capsys, index):
    arguments = ("search", "ferry", "--index", index, "--json")
    _, out, _ = call(capsys, *arguments, "--rerank", "local", "--rerank-top", 1, "--alpha", 0)
    data = json.loads(out)
    first, second = data["candidates"]
    assert first["score"] == first["verdict"]["score"] == first["scores"]["rerank"]
    assert "verdict" not in second
    assert data["reranked"] is True
    assert data["rerank_usage"]["seconds"]["rerank"] > 0
    assert json.loads(call(capsys, *arguments)[1])["reranked"] is True
    _, out, _ = call(capsys, *arguments, "--rerank", "none")
    assert json.loads(out)["reranked"] is False
    assert "reranked" not in call(capsys, *arguments[:-1], "--rerank", "none")[1]


def test_ask_reranks_by_a_server_and_shows_the_cost(capsys, index, length_reranker):
    arguments = ("ask", "Where was the ferry built?", "--index", index, "--rerank", "served")
    server = ("--reranker-url", length_reranker.url, "--reranker-model", "m", "--reranker-text-only")
    code, out, _ = call(capsys, *arguments, *server)
    assert code == 0
    assert "Turku" in out
    assert out.splitlines()[-1].startswith("  reranked: 21 tokens, ")  # an obvious pair, then two pages
    assert [asked["model"] for asked in length_reranker.requests] == ["m", "m", "m"]
    assert any((index / "replies").rglob("*.json"))
    code, out, _ = call(capsys, *arguments, *server)
    assert code == 0
    assert "2 from cache" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--think", "64"), "--think needs --reranker-url"),
        (("--reranker-model", "m", "--text-chars", "900"), "--reranker-model, --text-chars need"),
        (("--reranker-url", "http://localhost:1", "--think-share", "0.5"), "--think-share needs --think"),
        (("--rerank", "pointwise"), "--rerank pointwise needs --reranker-url"),
        (("--rerank", "local", "--reranker-url", "http://localhost:1"), "asks no server"),
        (("--rerank", "none", "--alpha", "0.5"), "--alpha needs --rerank or --reranker-url"),
    ],
)
def test_reranking_options_that_do_not_go_together(capsys, index, arguments, words):
    code, _, error = call(capsys, "search", "ferry", "--index", index, *arguments)
    assert code == 2
    assert words in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rerank", "none"), "look_again must have a reranker"),
        ((), "look_again must have a server"),
    ],
)
def test_a_second_look_without_what_it_needs_is_refused(capsys, index, arguments, words):
    code, _, error = call(capsys, "search", "ferry", "--index", index, "--look-again", "1", *arguments)
    assert code == 1
    assert words in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--alpha", "2"), "Invalid value for '--alpha'"),
        (("--think", "-1"), "Invalid value for '--think'"),
        (("--rerank", "best"), "'best' is not one of 'none', 'local'"),
    ],
)
def test_reranking_options_out_of_range(capsys, index, arguments, words):
    code, _, error = call(capsys, "search", "ferry", "--index", index, *arguments)
    assert code == 2
    assert words in error


def test_evaluate_says_what_reranking_gained(capsys, tmp_path, make_pdf):
    make_pdf(tmp_path / "pack" / "documents" / "ship.pdf", ["The Aurora carries cars.", "Built in Turku."])
    question = {"id": "a", "question": "Where was it built?", "doc": "ship.pdf", "answerable": True}
    (tmp_path / "pack" / "queries.jsonl").write_text(json.dumps({**question, "evidence_pages": [1]}))
    target = tmp_path / "report.json"
    arguments = ("evaluate", tmp_path / "pack", "--ocr", "off", "--to", target)
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    assert "without and with reranking" in out
    assert out.splitlines()[-1].startswith("reranked 2 rankings: ")
    data = json.loads(target.read_text())
    assert data["gains"][0] | {"gain": None} == {
        "scope": "pack",
        "group": "all",
        "count": 1,
        "before": 1.0,
        "after": 1.0,
        "gain": None,
    }
    assert set(data) >= {"scopes", "without_reranking", "reranking"}
    assert data["rerank"] == {"mode": "local", "top": 10, "alpha": None}
    assert call(capsys, *arguments, "--rerank", "none")[0] == 0
    data = json.loads(target.read_text())
    assert data["rerank"]["mode"] == "none"
    assert "without_reranking" not in data


def test_index_writes_traces_where_a_server_is_named(capsys, tmp_path, make_pdf, fake_server):
    make_pdf(tmp_path / "tea.pdf", ["Green tea is drunk in Japan."])
    fake_server.chat("<think>A page on tea.</think>Where green tea is drunk.")
    arguments = ("index", tmp_path / "tea.pdf", "--index", tmp_path / "index", "--ocr", "off")
    server = ("--trace-url", fake_server.url, "--trace-model", "m", "--trace-text-only")
    code, out, _ = call(capsys, *arguments, *server)
    assert code == 0
    assert out.splitlines()[-1] == f"1 traces in {tmp_path / 'index' / 'traces'}"
    assert "green tea is drunk" in fake_server.requests[0].body.decode().lower()
    code, _, error = call(capsys, *arguments, "--trace-model", "m")
    assert (code, "need --trace-url" in error) == (2, True)


def test_an_index_is_made_and_read_with_the_embedder_that_is_named(tmp_path, make_pdf, capsys):
    pytest.importorskip("transformers")
    import torch

    from mmrag.models import checkpoint
    from mmrag.models.tiny import make_tiny
    from mmrag.types import Budget

    folder = make_tiny(tmp_path / "tiny")
    wanted = checkpoint.Overrides(2, budget=Budget(2, 4), max_visual_tokens=16, allow_untrained=True)
    model, config = checkpoint.load(folder, wanted, device=torch.device("cpu"), dtype=torch.float32)
    checkpoint.save(folder, model, replace(config, trained=True))
    make_pdf(tmp_path / "a.pdf", ["One page.", "Another page."])
    index = ["--index", str(tmp_path / "index")]
    named = [*index, "--embedder", str(folder)]
    code, _, err = call(capsys, "index", tmp_path / "a.pdf", "--ocr", "off", *named)
    assert code == 0, err
    code, out, _ = call(capsys, "search", "another", *named, "--channels", "vectors", "--budget", "2,4")
    assert (code, out.count("a.pdf, page")) == (0, 2)
    code, _, err = call(capsys, "search", "another", *index)
    assert code == 1
    assert "embedder" in err
    assert call(capsys, "search", "another", *index, "--embedder", tmp_path / "none")[0] == 1


def test_a_stream_that_cannot_take_a_character_or_is_closed_ends_no_command(tmp_path):
    command = [sys.executable, "-m", "mmrag.cli", "search", "x", "--index", str(tmp_path / "né…"), "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert ended.returncode == 1
    assert "né…" in json.loads(ended.stdout)["message"]
    assert b"Traceback" not in ended.stderr
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, check=False)
    assert closed.returncode == 1
    assert b"Traceback" not in closed.stderr


@pytest.fixture(scope="module")
def tables_pdf(tmp_path_factory):
    import pymupdf

    path = tmp_path_factory.mktemp("read") / "tables.pdf"
    document = pymupdf.open()
    for number in range(2):
        page = document.new_page()
        page.insert_text((72, 80), f"Part {number + 1}", fontsize=20)
        page.insert_text((72, 120), "The lakes are measured every spring by the harbour office.", fontsize=11)
        for row, texts in enumerate((("Lake", "Depth"), ("Alder", "12"), ("Birk", f"3{number}"))):
            for column, text in enumerate(texts):
                box = pymupdf.Rect(72 + 120 * column, 150 + 20 * row, 192 + 120 * column, 170 + 20 * row)
                page.draw_rect(box, width=0.7)
                page.insert_text((box.x0 + 5, box.y1 - 6), text, fontsize=10)
        page.insert_text((72, 260), "All depths are in metres below the mark at the old bridge.", fontsize=11)
    document.save(path)
    return path


@pytest.mark.usefixtures("structure_models")
def test_read_prints_markdown(capsys, tables_pdf):
    code, out, err = call(capsys, "read", tables_pdf, "--ocr", "off")
    assert (code, err) == (0, "")
    assert "# Part 1" in out and "| Lake | Depth |\n| --- | --- |\n| Alder | 12 |\n| Birk | 30 |" in out
    assert call(capsys, "read", tables_pdf, "--ocr", "off", "--markdown")[1] == out


@pytest.mark.usefixtures("structure_models")
def test_read_prints_json_of_some_pages(capsys, tables_pdf):
    code, out, _ = call(capsys, "read", tables_pdf, "--ocr", "off", "--pages", "2", "--json")
    (page,) = json.loads(out)["pages"]
    assert (code, page["page"]) == (0, 1)
    assert [block["table"]["rows"] for block in page["blocks"] if "table" in block] == [3]


@pytest.mark.usefixtures("structure_models")
def test_read_writes_tables_as_csv(capsys, tables_pdf, tmp_path):
    target = tmp_path / "lakes.csv"
    code, out, _ = call(capsys, "read", tables_pdf, "--ocr", "off", "--tables", target)
    assert code == 0 and "lakes-1.csv: page 1, 3 rows" in out
    assert (tmp_path / "lakes-2.csv").read_bytes() == b"Lake,Depth\r\nAlder,12\r\nBirk,31\r\n"
    assert call(capsys, "read", tables_pdf, "--ocr", "off", "--pages", "2", "--tables", target)[0] == 0
    assert target.read_bytes() == (tmp_path / "lakes-2.csv").read_bytes()


def test_read_says_what_is_wrong(capsys, tables_pdf, tmp_path):
    assert call(capsys, "read", tmp_path / "none.pdf")[0] == 1
    code, _, err = call(capsys, "read", tables_pdf, "--ocr", "off", "--pages", "7")
    assert code == 1 and "pages must be among the 2 of the file, got '7'" in err
    code, _, err = call(capsys, "read", tables_pdf, "--json", "--markdown")
    assert code == 2 and "exclude each other" in err
