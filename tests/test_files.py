"""Laws of files: whole or not at all, and JSON lines read strictly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmrag.errors import check_whole
from mmrag.files import atomic_write, name_words, read_json_lines


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    with atomic_write(target) as file:
        file.write("größer\n")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "größer\n"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(type(error)), atomic_write(target, "wb") as file:
        file.write(b"new")
        raise error
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_another_mode_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="mode must be 'w' or 'wb', got 'a'"),
        atomic_write(tmp_path / "a", "a"),
    ):
        pass


def test_lines_come_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"a": 1}\n\n{"b": "\u2028"}\n', encoding="utf-8")
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (3, {"b": "\u2028"})]


@pytest.mark.parametrize("line", ["[1]", "{", "3"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n" + line)
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: a question must be a JSON object, got "):
        list(read_json_lines(path, "question"))


@pytest.mark.parametrize("value", [0, 4, True, 2.0, "2", None])
def test_what_is_no_whole_number_of_the_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"k must be a whole number from 1 to 3, got .*\. Lower it\."):
        check_whole("k", value, 1, 3, hint="Lower it.")


def test_whole_numbers_of_the_range_come_back() -> None:
    assert [check_whole("k", value, 0) for value in (0, 1, 10**9)] == [0, 1, 10**9]


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n" + b'{"a": "\xff"}\n')
    with pytest.raises(
        ValueError, match=r"a\.jsonl, line 2: a line must be UTF-8, got .*Save the file as UTF-8"
    ):
        list(read_json_lines(path))


def test_words_of_a_name_are_words_whatever_its_bytes_are() -> None:
    assert name_words("reports/AnnualReport_2024.pdf") == "Annual Report 2024"
    assert name_words(os.fsdecode(b"caf\xe9Bar.pdf")) == "caf Bar"
    assert name_words("\ud800.pdf").encode("utf-8") == b""
