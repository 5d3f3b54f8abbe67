"""Laws of prompt files: replaced by name, refused where a replacement would do nothing or do it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrag.serving.prompts import Prompts


def test_a_file_of_ones_own_replaces_the_prompt_of_its_name_and_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "pointwise_system.txt").write_text("Judge like a librarian.\n", encoding="utf-8")
    own, packaged = Prompts(tmp_path), Prompts()
    assert own.text("pointwise_system") == "Judge like a librarian."
    assert own.text("listwise_system") == packaged.text("listwise_system")
    assert own.digest(["pointwise_system"]) != packaged.digest(["pointwise_system"])
    assert own.digest(["listwise_system"]) == packaged.digest(["listwise_system"])


def test_a_name_that_replaces_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pointwise_sytem.txt").write_text("x", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"pointwise_sytem.txt' replaces no prompt. Name it as one of: .*ecr"
    ):
        Prompts(tmp_path)


def test_a_missing_folder_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a folder with text files"):
        Prompts(tmp_path / "none")
    with pytest.raises(ValueError, match="must hold at least one of"):
        Prompts(tmp_path)


def test_a_prompt_that_is_empty_or_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "instruction.txt"
    path.write_text(" \n", encoding="utf-8")
    with pytest.raises(ValueError, match="must not be empty"):
        Prompts(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="must be UTF-8"):
        Prompts(tmp_path)


def test_a_replacement_must_have_the_places_of_the_original(tmp_path: Path) -> None:
    (tmp_path / "likelihood.txt").write_text("Page: $pages", encoding="utf-8")
    with pytest.raises(ValueError, match=r"must have the places \$page of the original, got \$pages"):
        Prompts(tmp_path)
    (tmp_path / "likelihood.txt").write_text("It cost $$5. Page: ${page}", encoding="utf-8")
    assert Prompts(tmp_path).fill("likelihood", page="$x") == "It cost $5. Page: $x"


def test_an_unknown_prompt_is_named() -> None:
    with pytest.raises(ValueError, match="got 'nonsense'"):
        Prompts().text("nonsense")
