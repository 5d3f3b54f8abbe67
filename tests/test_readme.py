"""What the README says is run: its Python as it stands, its commands are parsed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import mmrag
from mmrag.cli.app import parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OVERVIEW = (ROOT / "docs" / "overview.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands() -> list[str]:
    text = "\n".join(blocks("sh", README + OVERVIEW))
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith("mmrag ")]


@pytest.mark.usefixtures("structure_models")
def test_the_ten_lines_run_as_they_stand(tmp_path):
    (tmp_path / "mmrag").symlink_to(ROOT / "mmrag")  # the path they name is the repository's
    run = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    answer, *lines = run.stdout.splitlines()
    assert "268.4 [1]" in answer
    place = next(line for line in lines if line.startswith("harbor-annual-report-2024.pdf 2 (("))
    assert "268.4" in place
    assert (tmp_path / "evidence-1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one(line):
    assert parse(shlex.split(line)[1:]).info_name


def test_it_is_one_screen_to_the_first_answer_two_pictures_then_links():
    assert len(README) < 9_000
    assert README.index("```python") < 2_000
    assert len(re.findall(r"!\[", README)) == 2


def test_links_to_files_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", ["langchain-mmrag", "llama-index-mmrag"])
def test_an_integration_is_installed_together_with_the_package_it_needs(name):
    """`mmrag` is on no index: pip finds it where the same command names it. `make clean-install` does it."""
    own = (ROOT / "integrations" / name / "README.md").read_text(encoding="utf-8")
    for text in (README, own):
        lines = re.findall(rf"^pip install (.*integrations/{name})\b", text, re.MULTILINE)
        assert lines == [f". ./integrations/{name}"]
    project = (ROOT / "integrations" / name / "pyproject.toml").read_text("utf-8")
    (needs,) = re.findall(r'"(mmrag[<>=][^"]*)"', project)
    assert mmrag.__version__ in Requirement(needs).specifier
