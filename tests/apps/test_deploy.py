"""The container's files name what there is: extras, commands and options. Its steps are run by CI."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mmrag.cli.app import parse

yaml = pytest.importorskip("yaml")

PROJECT = Path(__file__).parents[2]


def test_the_image_installs_extras_that_there_are_and_runs_a_command_that_parses():
    dockerfile = (PROJECT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    section = (
        (PROJECT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    )
    known = set(re.findall(r"^([\w-]+) = \[", section.split("\n[")[0], re.MULTILINE))
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", dockerfile)
    assert set(extras.split(",")) <= known
    (command,) = re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)
    context = parse(json.loads(command))
    assert context.info_name == "ui" and context.params["host"] == "0.0.0.0"
    assert "USER mmrag" in dockerfile and "HEALTHCHECK" in dockerfile


def test_the_composition_starts_the_same_command_with_its_server():
    composition = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    service = composition["services"]["mmrag"]
    context = parse(service["command"])
    assert context.params["answerer_url"] == "http://vllm:8000/v1" and "vllm" in composition["services"]
    assert (PROJECT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
