"""What docs/training.md says to type: its commands parse, its configurations load, its links exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("yaml")

from mmrag.cli.app import parse
from mmrag.training.config import load_config

PAGE = Path(__file__).parent.parent.parent / "docs" / "training.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(\w+\.yaml)`:\n\n```yaml\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("mmrag ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_and_its_configuration_is_for_its_stage(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = parse(shlex.split(line)[1:])
    config = command.params.get("config")
    if config is not None:
        monkeypatch.chdir(tmp_path)
        for name, text in FILES.items():
            (tmp_path / name).write_text(text)
        assert load_config(config, command.info_name).stage == command.info_name


def test_every_configuration_is_used() -> None:
    assert len(FILES) == 7
    assert all(any(f"--config {name}" in line for line in COMMANDS) for name in FILES)


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", TEXT) if "://" not in link]
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
