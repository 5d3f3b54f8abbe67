"""The container's files name what there is: extras, commands and options. Its steps are run by CI."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mmrag.cli.app import parse
from mmrag.index.qdrant.connecting import read_address

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


def test_the_qdrant_cluster_is_three_nodes_that_find_each_other() -> None:
    """Settings that a wrong letter would leave at their defaults, since no cluster runs in the tests."""
    yaml = pytest.importorskip("yaml")
    text = (PROJECT / "deploy" / "qdrant" / "compose.yaml").read_text(encoding="utf-8")
    composition = yaml.safe_load(text)
    services = composition["services"]
    assert len(services) == 3
    for number, (name, service) in enumerate(services.items(), 1):
        assert name == f"qdrant-{number}" and service["image"].startswith("qdrant/qdrant:")
        own = f"http://{name}:6335"
        others = [] if number == 1 else ["--bootstrap", "http://qdrant-1:6335"]
        assert service["command"] == ["./qdrant", *others, "--uri", own]
        assert service["volumes"] == [f"node-{number}:/qdrant/storage"]
        assert service["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert service["environment"]["QDRANT__SERVICE__API_KEY"].startswith("${QDRANT_API_KEY:?")
        ports = [port.rsplit(":", 1) for port in service["ports"]]
        assert all(outside.startswith("127.0.0.1:") and inside != "6335" for outside, inside in ports)
    assert set(composition["volumes"]) == {f"node-{number}" for number in (1, 2, 3)}
    address = re.search(r"qdrant://\S+?(?=')", text)
    assert address is not None
    settings = read_address(address[0]).new_collection
    assert (settings.shards, settings.replicas, settings.write_consistency) == (6, 2, 2)
