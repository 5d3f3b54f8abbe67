"""The benchmark for a GPU keeps to its time, keeps what is whole, and says what is missing and why."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import one_gpu
import pytest


def test_a_part_has_its_share_and_what_those_before_it_left() -> None:
    parts = list(one_gpu.SHARES)
    shares = [one_gpu.share(400, part, parts) for part in parts]
    assert sum(shares) == pytest.approx(400)
    assert one_gpu.share(400, parts[-1], parts[-1:]) == 400
    assert one_gpu.share(-3, parts[0], parts) == 0


def test_parts_are_run_in_their_own_order_and_unknown_ones_are_named() -> None:
    assert one_gpu.parts_of("served, training") == ("training", "served")
    with pytest.raises(ArgumentTypeError, match="training,local,served, got tea"):
        one_gpu.parts_of("tea")


def test_rows_of_a_part_that_fails_are_kept_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    program = f"open({str(file)!r}, 'w').write('[{{}}]'); raise MemoryError('no more of it')"
    found = one_gpu.call_part([sys.executable, "-c", program], file, 600, "")
    assert found["rows"] == [{}]
    assert found["left_out"] == "MemoryError: no more of it"


def test_a_part_that_is_not_done_in_time_is_ended_and_has_no_figures(tmp_path: Path) -> None:
    program = "import time; time.sleep(10_000)"
    found = one_gpu.call_part([sys.executable, "-c", program], tmp_path / "rows.json", 0.01, "")
    assert found["rows"] == [] and found["left_out"].startswith("ended after")


def test_the_reason_is_the_last_error_and_not_the_last_line() -> None:
    log = "Loading\nTraceback\nmmrag.errors.ServeError: not ready. Its last lines:\nINFO one\nINFO two"
    assert one_gpu.reason_of(log).startswith("mmrag.errors.ServeError: not ready.")
    assert one_gpu.reason_of("first\nlast") == "last"
    assert one_gpu.reason_of("") == ""


def test_parts_without_time_are_left_out_and_the_file_says_so(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "figures.json"
    assert one_gpu.main(["--small", "--minutes", "0.01", "--to", str(file)]) == 1
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["small"] and found["device"]["name"] == "cpu" and found["versions"]["torch"]
    assert list(found["parts"]) == list(one_gpu.SHARES)
    assert all(
        not one["rows"] and one["left_out"] == "0 s were left for it" for one in found["parts"].values()
    )
    assert [one.name for one in tmp_path.iterdir()] == ["figures.json"]


def test_no_document_is_in_both_files_of_the_training(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    from one_gpu_training import SMALL, draw_pairs

    train, held, pages = draw_pairs(tmp_path, SMALL)
    documents = []
    for file in (train, held):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert lines and all(line["query"]["text"] and line["positives"][0]["text"] for line in lines)
        documents.append({line["positives"][0]["id"].partition("#")[0] for line in lines})
    assert not documents[0] & documents[1]
    assert pages >= len(documents[0] | documents[1])
