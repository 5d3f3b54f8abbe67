"""`mmrag serve` without vLLM.

What would be started is looked at as a plan. For starting and stopping, ``stand_in`` is a fake: a script in
place of the Python that has vLLM. It answers like a server that has just loaded its model, or fails in a
way that a real one will not on demand. The real one is in ``tests/vllm/test_serve.py``.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mmrag.cli import main
from mmrag.cli.serve import thread_notes
from mmrag.errors import ServeError
from mmrag.machine import has_bfloat16
from mmrag.serving.vllm import ServePlan, ServerProcess, plan_server
from mmrag.serving.vllm.facts import ModelFacts, ServingPython, find_vllm, model_folder, read_facts

from ..patience import PATIENCE, wait_until
from ..ports import own_port

GPU = ServingPython("/opt/python", "0.32.0", cpu=False)
CPU = ServingPython("/opt/python", "0.32.0+cpu", cpu=True)


def write_model(folder: Path, template: str = "", **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def planned(folder: Path, mode: str | None = None, *extra: str, python: ServingPython = GPU) -> ServePlan:
    return plan_server(str(folder), read_facts(folder), python, mode=mode, extra=extra)


def value_of(plan: ServePlan, flag: str) -> str | None:
    """What vLLM will take for a flag: argparse takes the last."""
    at = [i for i, word in enumerate(plan.command) if word == flag]
    return plan.command[at[-1] + 1] if at else None


# --------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize(("tied", "where"), [(True, "text_config"), (False, "text_config"), (True, "top")])
def test_a_vision_reranker_is_told_its_head_its_prompt_and_its_tying(
    tmp_path: Path, tied: bool, where: str
) -> None:
    tie = {"tie_word_embeddings": tied}
    config = {"text_config": tie} if where == "text_config" else tie
    folder = write_model(
        tmp_path / "Qwen3-VL-Reranker-2B", architectures=["Qwen3VLForConditionalGeneration"], **config
    )
    plan = planned(folder)
    assert plan.mode == "rerank"
    assert value_of(plan, "--runner") == "pooling"
    assert json.loads(value_of(plan, "--hf-overrides") or "") == {
        "architectures": ["Qwen3VLForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
        "text_config": {"tie_word_embeddings": tied},
    }
    assert Path(value_of(plan, "--chat-template") or "").is_file()


OURS = ServingPython("/opt/python", "0.32.0", cpu=False, plugin=True)


def write_checkpoint(folder: Path, *, pooling: str = "meta", trained: bool = True, **config: object) -> Path:
    """A checkpoint of ours, without its weights."""
    config = {"architectures": ["Qwen3VLModel"], "model_type": "qwen3_vl", **config}
    write_model(folder, **config)
    ours = {"pooling": pooling, "budget": {"query": 16, "document": 64}, "trained": trained}
    (folder / "mmrag_config.json").write_text(json.dumps(ours))
    return folder


def test_a_checkpoint_of_ours_is_served_by_the_plugin(tmp_path: Path) -> None:
    plan = planned(write_checkpoint(tmp_path / "ours"), python=OURS)
    assert (plan.mode, value_of(plan, "--runner")) == ("embed", "pooling")
    assert value_of(plan, "--io-processor-plugin") == "mmrag"
    assert json.loads(value_of(plan, "--hf-overrides") or "") == {"architectures": ["MmragQwen3VLEmbedder"]}
    assert value_of(plan, "--max-model-len") == str(8192 + 80 + 1)
    assert value_of(plan, "--convert") is None and "no instructions for bfloat16" not in str(plan.notes)


def test_limits_and_overrides_of_the_caller_and_the_model_stay(tmp_path: Path) -> None:
    short = write_checkpoint(tmp_path / "short", text_config={"max_position_embeddings": 4096})
    assert value_of(planned(short, python=OURS), "--max-model-len") == "4096"
    plan = planned(short, None, "--max-model-len", "99", "--hf-overrides", "{}", python=OURS)
    assert plan.command.count("--max-model-len") == 1 == plan.command.count("--hf-overrides")
    single = planned(write_checkpoint(tmp_path / "single", pooling="last"), python=OURS)
    assert value_of(single, "--max-model-len") == "8193"


def test_an_untrained_checkpoint_is_served_and_said(tmp_path: Path) -> None:
    plan = planned(write_checkpoint(tmp_path / "new", trained=False), python=OURS)
    overrides = json.loads(value_of(plan, "--hf-overrides") or "")
    assert overrides["mmrag"] == {"allow_untrained": True}
    assert "untrained: its vectors mean nothing" in " ".join(plan.notes)


def test_a_checkpoint_of_ours_needs_the_plugin_and_its_family(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "ours")
    with pytest.raises(ServeError, match=r"needs mmrag's plugin in vLLM's environment, got /opt/python"):
        planned(folder)
    with pytest.raises(ServeError, match=r"checkpoints of qwen3_vl, internvl .* got 'x' in other"):
        planned(write_checkpoint(tmp_path / "other", model_type="x"), python=OURS)
    (folder / "mmrag_config.json").write_text("{}")
    with pytest.raises(ServeError, match="must be one that this version of mmrag writes"):
        planned(folder, python=OURS)


def test_a_text_reranker_has_another_head_and_another_prompt(tmp_path: Path) -> None:
    plan = planned(write_model(tmp_path / "Qwen3-Reranker-0.6B", architectures=["Qwen3ForCausalLM"]))
    assert json.loads(value_of(plan, "--hf-overrides") or "")["architectures"] == [
        "Qwen3ForSequenceClassification"
    ]
    assert (value_of(plan, "--chat-template") or "").endswith("qwen3_reranker.jinja")


def test_a_key_is_handed_over_by_the_environment_and_shown_nowhere(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "smol", architectures=["LlamaForCausalLM"])
    for flags in (("--api-key", "sk-hunter22"), ("--api-key=sk-hunter22",)):
        plan = planned(folder, "answer", *flags, "--max-model-len", "9")
        assert plan.environment["VLLM_API_KEY"] == "sk-hunter22"
        assert "hunter" not in " ".join(plan.command) + repr(plan) + plan.shell()
        assert value_of(plan, "--max-model-len") == "9"
    several = planned(folder, "answer", "--api-key", "sk-hunter22", "sk-hunter33", "--hf-token", "hf-hunter")
    assert "sk-hunter33" in several.command
    assert "hunter" not in repr(several) + several.shell() + str(several.shown_command())


def test_a_cross_encoder_needs_no_override(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "ms-marco", architectures=["BertForSequenceClassification"])
    plan = planned(folder)
    assert (plan.mode, value_of(plan, "--runner"), value_of(plan, "--hf-overrides")) == (
        "rerank",
        "pooling",
        None,
    )


def test_a_chat_model_is_no_reranker_unless_the_caller_says_how(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "smol", architectures=["LlamaForCausalLM"])
    with pytest.raises(ServeError, match=r"needs a model that is a reranker, got smol \(LlamaForCausalLM\)"):
        planned(folder, "rerank")
    overrides = '{"classifier_from_token": ["no", "yes"]}'
    plan = planned(folder, "rerank", "--hf-overrides", overrides)
    assert [word for word in plan.command if word == "--hf-overrides"] == ["--hf-overrides"]
    assert value_of(plan, "--hf-overrides") == overrides


def test_a_generator_serves_vectors_only_when_converted(tmp_path: Path) -> None:
    generator = write_model(
        tmp_path / "Qwen3-VL-Embedding-2B", architectures=["Qwen3VLForConditionalGeneration"]
    )
    plan = planned(generator)
    assert (plan.mode, value_of(plan, "--runner"), value_of(plan, "--convert")) == (
        "embed",
        "pooling",
        "embed",
    )
    encoder = write_model(tmp_path / "bge", architectures=["BertModel"])
    assert value_of(planned(encoder, "embed"), "--convert") is None


def test_an_embedder_with_a_template_of_its_own_for_vectors_is_served_by_it(tmp_path: Path) -> None:
    """WeMM-Embedding: its chat template is of chats, and a file beside it ends in the token it is read at."""
    folder = write_model(
        tmp_path / "WeMM-Embedding-2B", "{{ x }}<think>", architectures=["Qwen3_5ForConditionalGeneration"]
    )
    with pytest.raises(ServeError, match=r"needs the file embedding_chat_template\.jinja .* got none"):
        planned(folder)
    template = folder / "embedding_chat_template.jinja"
    template.write_text("{{ x }}<embedding>")
    plan = planned(folder)

    assert (plan.mode, value_of(plan, "--runner")) == ("embed", "pooling")
    assert value_of(plan, "--chat-template") == str(template)
    assert 'ServedEmbedder(url, modalities=("text", "image"))' in " ".join(plan.notes)
    assert value_of(planned(folder, None, "--chat-template", "mine"), "--chat-template") == "mine"
    assert value_of(planned(folder, "answer"), "--chat-template") is None
    other = write_model(tmp_path / "Qwen3-VL-Embedding-2B", architectures=["Qwen3VLForConditionalGeneration"])
    assert value_of(planned(other), "--chat-template") is None


def test_the_template_of_a_hub_model_is_the_file_that_was_fetched(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "snapshot", architectures=["Qwen3_5ForConditionalGeneration"])
    (folder / "embedding_chat_template.jinja").write_text("{{ x }}<embedding>")
    facts = replace(read_facts(folder, "WeMM-Embedding-2B"), folder=None)
    plan = plan_server("tencent/WeMM-Embedding-2B", facts, GPU)

    assert value_of(plan, "--model") == "tencent/WeMM-Embedding-2B"
    assert value_of(plan, "--chat-template") == str(folder / "embedding_chat_template.jinja")
    with pytest.raises(ServeError, match=r"hf download"):
        plan_server("tencent/WeMM-Embedding-2B", ModelFacts("WeMM-Embedding-2B"), GPU)


@pytest.mark.parametrize(
    ("model_type", "template", "parser"),
    [
        ("qwen3_vl", "{{ x }}<think>\n", "qwen3"),
        ("qwen3_vl", "{{ x }}", None),
        ("deepseek_v3", "<think>", "deepseek_r1"),
        ("gpt_oss", "", "openai_gptoss"),
        ("llama", "{{ x }}", None),
    ],
)
def test_a_model_that_thinks_gets_the_parser_of_its_thoughts(
    tmp_path: Path, model_type: str, template: str, parser: str | None
) -> None:
    plan = planned(
        write_model(tmp_path / "m", template, architectures=["A"], model_type=model_type), "answer"
    )
    assert value_of(plan, "--reasoning-parser") == parser
    assert plan.notes == ()


def test_a_thinker_of_an_unknown_kind_is_told_of(tmp_path: Path) -> None:
    plan = planned(write_model(tmp_path / "m", "<think>", architectures=["A"], model_type="new"), "answer")
    assert value_of(plan, "--reasoning-parser") is None
    assert "no reasoning parser is known here for 'new'" in " ".join(plan.notes)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.json"])
@pytest.mark.parametrize("template", ["<think>", [{"name": "default", "template": "<think>"}]])
def test_a_template_is_found_wherever_models_keep_it(tmp_path: Path, name: str, template: object) -> None:
    folder = write_model(tmp_path / "m", architectures=["A"], model_type="qwen3")
    (folder / name).write_text(json.dumps({"chat_template": template}))
    assert value_of(planned(folder, "answer"), "--reasoning-parser") == "qwen3"


def test_arguments_of_the_caller_come_last_and_are_not_said_twice(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", "<think>", architectures=["A"], model_type="qwen3")
    extra = ("--reasoning-parser=mine", "--served-model-name", "short", "--max-model-len", "99")
    plan = planned(folder, "answer", *extra)
    assert plan.command[-len(extra) :] == extra
    assert plan.model == "short"
    assert "--reasoning-parser" not in plan.command
    assert plan.command.count("--served-model-name") == 1


def test_a_local_model_is_not_looked_up_and_nothing_is_reported(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", architectures=["A"])
    local = planned(folder, "answer", python=CPU)
    assert local.environment == {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "7200",
    }
    assert (local.model, value_of(local, "--model")) == ("m", str(folder))
    far = plan_server("org/name", ModelFacts("name", architectures=("A",)), GPU, mode="answer")
    assert far.environment == {"VLLM_NO_USAGE_STATS": "1"}
    assert (far.model, value_of(far, "--served-model-name")) == ("org/name", None)


def test_a_processor_without_bfloat16_computes_in_float32_unless_told_otherwise(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", architectures=["A"])
    old = replace(CPU, bfloat16=False)
    plan = planned(folder, "answer", python=old)
    assert value_of(plan, "--dtype") == "float32"
    assert "float32, which is faster here" in " ".join(plan.notes)
    told = planned(folder, "answer", "--dtype=bfloat16", python=old)
    assert (value_of(told, "--dtype"), told.notes) == (None, ())
    assert value_of(planned(folder, "answer", python=CPU), "--dtype") is None


def test_threads_that_were_set_for_something_else_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "m", architectures=["A"])
    monkeypatch.setattr("mmrag.machine.usable_cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (note,) = thread_notes(planned(folder, "answer", python=CPU))
    assert note.startswith("OMP_NUM_THREADS=1 holds for the server, too: it computes on 1 of 4 processors")
    assert thread_notes(planned(folder, "answer", python=GPU)) == []
    for setting in ("4", "8", "", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", setting)
        assert thread_notes(planned(folder, "answer", python=CPU)) == []


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("flags : fpu avx512f avx512_bf16 amx_tile", True),
        ("Features : asimd bf16 i8mm", True),
        ("flags : fpu avx2 avx512f avx512_vnni", False),
    ],
)
def test_a_processor_is_known_by_its_flags(tmp_path: Path, flags: str, has: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert not has_bfloat16(cpuinfo)  # nobody can say
    cpuinfo.write_text(f"processor : 0\n{flags}\n")
    assert has_bfloat16(cpuinfo) is has


def test_a_reranker_on_a_hub_that_cannot_be_asked_is_known_by_its_name() -> None:
    plan = plan_server("Qwen/Qwen3-VL-Reranker-2B", ModelFacts("Qwen3-VL-Reranker-2B"), GPU)
    assert plan.mode == "rerank"
    assert "text_config" not in json.loads(value_of(plan, "--hf-overrides") or "")
    assert "could not be read" in " ".join(plan.notes)


def test_by_default_only_this_machine_can_ask() -> None:
    plan = plan_server("org/name", ModelFacts("name"), GPU, mode="answer")
    assert value_of(plan, "--host") == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:9"), ("::", "http://[::1]:9"), ("10.0.0.7", "http://10.0.0.7:9")],
)
def test_a_server_on_every_address_is_asked_at_this_one(host: str, url: str) -> None:
    assert plan_server("o/n", ModelFacts("n"), GPU, mode="answer", host=host, port=9).url == url


def test_the_command_shown_is_one_a_shell_reads_back() -> None:
    plan = plan_server("o/n", ModelFacts("Qwen3-VL-Reranker"), CPU, mode="rerank")
    code = "import json, os, sys; print(json.dumps([os.environ['VLLM_CPU_OMP_THREADS_BIND'], sys.argv[1:]]))"
    shown = plan.shell().replace("/opt/python", f'{sys.executable} -c "{code}"', 1)
    run = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == ["nobind", list(plan.command[1:])]


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of rerank, embed, answer, got 'chat'"):
        plan_server("o/n", ModelFacts("n"), GPU, mode="chat")


# ------------------------------------------------------------------------------------- what is missing


@pytest.mark.parametrize("model", ["./gone", "/gone/model", "~/gone", "gone", "a/b/c", "{tmp}/gone"])
def test_a_folder_that_is_not_there_is_not_taken_for_a_hub_id(model: str, tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="must be a folder that exists or an id like"):
        model_folder(model.format(tmp=tmp_path))


def test_a_mistyped_relative_folder_is_not_taken_for_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_folder("models/tiny") is None  # an organisation called models, for all we know
    (tmp_path / "models").mkdir()
    with pytest.raises(ServeError, match="'models/tiny', which is not there"):
        model_folder("models/tiny")


def test_a_folder_without_a_configuration_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"must hold a config\.json"):
        model_folder(str(tmp_path))


def test_a_broken_configuration_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ServeError, match=r"config\.json must be a JSON object, and cannot be read"):
        read_facts(tmp_path)


def program(path: Path, says: str) -> Path:
    """A program that says this, whatever it is asked."""
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_python_without_vllm_is_told_how_to_get_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "m", architectures=["A"])
    python = program(tmp_path / "python", '{"versions": {}}')
    assert main(["serve", str(folder), "--python", str(python)]) == 1
    said = capsys.readouterr().err
    assert f"got {python}, which has none" in said
    assert "pip install 'mmrag[vllm]'" in said
    assert "make vllm" in said


def test_the_probe_asks_a_real_python() -> None:
    """Both outcomes are right: what is installed here decides."""
    try:
        version = importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        with pytest.raises(ServeError, match="which has none"):
            find_vllm(sys.executable)
    else:
        assert find_vllm(sys.executable).version == version


def test_a_python_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="must be a Python that runs, got '/gone/python'"):
        find_vllm("/gone/python")
    with pytest.raises(ServeError, match=r"must be a Python, got .* which said: 'hello'"):
        find_vllm(str(program(tmp_path / "python", "hello")))


@pytest.mark.parametrize(
    ("found", "version", "cpu"),
    [
        ({"vllm": "0.33.0"}, "0.33.0", False),
        ({"vllm": "0.32.0+cpu"}, "0.32.0+cpu", True),
        ({"vllm-cpu": "0.32.0"}, "0.32.0", True),
    ],
)
def test_a_build_for_cpus_is_known(tmp_path: Path, found: dict, version: str, cpu: bool) -> None:
    for plugin in (False, True):
        python = str(program(tmp_path / "python", json.dumps({"versions": found, "plugin": plugin})))
        bfloat16 = not cpu or has_bfloat16()
        assert find_vllm(python) == ServingPython(python, version, cpu, bfloat16, plugin)


# ------------------------------------------------------------------------------ starting and stopping

STAND_IN = '''#!{python}
"""Stands in for a Python with vLLM; what it does is told by WAY."""
import http.server, json, os, signal, subprocess, sys, time

if sys.argv[1] == "-c":
    print(json.dumps({{"versions": {{"vllm": "0.99.0"}}, "plugin": False}}))
    sys.exit(0)
way = os.environ.get("WAY", "serve")
child = subprocess.Popen(["sleep", "600"])  # vLLM is a tree of processes too
open(os.environ["STATE"], "w").write(json.dumps({{"argv": sys.argv[1:], "pids": [os.getpid(), child.pid]}}))
print("loading the model")
if way == "die":
    print("No available memory for the cache blocks.")
    child.kill()
    sys.exit(7)
if way == "stubborn":
    signal.signal(signal.SIGTERM, lambda *_: open(os.environ["STATE"] + ".terminated", "w"))
if way == "never":
    time.sleep(600)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 401 if way == "locked" else 200
        body = json.dumps({{"data": [{{"id": "m"}}]}}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


port = int(sys.argv[sys.argv.index("--port") + 1])
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
if way == "fall":
    server.handle_request()
    print("EngineDeadError")
    sys.exit(3)
server.serve_forever()
'''


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    path = tmp_path / "python"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m", architectures=["LlamaForCausalLM"])


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


PATIENT_CLI = """
import os, runpy, time
from pathlib import Path
from mmrag.serving.vllm.process import ServerProcess
ServerProcess.stop.__defaults__ = (3600.0,)
wait_ready, state = ServerProcess.wait_ready, Path(os.environ["STATE"])

def wait_for_one_that_has_started(self, *arguments):
    while self.poll() is None and not (state.exists() and state.read_text()):
        time.sleep(0.01)
    return wait_ready(self, *arguments)

ServerProcess.wait_ready = wait_for_one_that_has_started
runpy.run_module("mmrag.cli", run_name="__main__")
"""
"""``python -m mmrag.cli`` that gives a server an hour to end by itself.

The time that a server has to get ready begins when it has said which processes it is.
"""


class Cli:
    """``mmrag serve`` as a process of its own."""

    def __init__(self, model: Path, python: Path, folder: Path, way: str, *options: str) -> None:
        self.state_path = folder / "state.json"
        self.port = own_port()
        command = [sys.executable, "-c", PATIENT_CLI, "serve"]
        self.process = subprocess.Popen(
            [
                *command,
                str(model),
                f"--python={python}",
                f"--port={self.port}",
                f"--timeout={PATIENCE:.0f}",
                *options,
            ],
            env={**os.environ, "WAY": way, "STATE": str(self.state_path), "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready_line(self) -> str:
        return self.process.stdout.readline()

    def end(self) -> tuple[int, str]:
        """Exit code and what it said on standard error."""
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err

    @property
    def state(self) -> dict:
        return json.loads(self.state_path.read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_whole_tree(model: Path, stand_in: Path, tmp_path: Path, number: int) -> None:
    cli = Cli(model, stand_in, tmp_path, "serve", "--", "--max-model-len", "99")
    assert re.match(rf"Ready after \d+ s: http://127.0.0.1:{cli.port} serves m\.", cli.ready_line())
    state = cli.state
    assert state["argv"][:2] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert state["argv"][-2:] == ["--max-model-len", "99"]
    assert all(alive(pid) for pid in state["pids"])
    cli.process.send_signal(number)
    code, err = cli.end()
    assert code == 128 + number
    assert "Traceback" not in err
    wait_until(lambda: not any(alive(pid) for pid in state["pids"]))  # a killed process may take a moment
    assert list(tmp_path.glob("mmrag-serve-*.log")) == []  # all went well: nothing is left behind


def test_a_signal_while_it_starts_ends_it_too(model: Path, stand_in: Path, tmp_path: Path) -> None:
    cli = Cli(model, stand_in, tmp_path, "never")
    wait_until(lambda: cli.state_path.exists() and cli.state_path.read_text())
    cli.process.send_signal(signal.SIGINT)
    code, err = cli.end()
    assert (code, "Traceback" in err) == (130, False)
    wait_until(lambda: not any(alive(pid) for pid in cli.state["pids"]))


def test_a_signal_just_when_its_process_is_made_ends_it_too(tmp_path: Path, monkeypatch) -> None:
    """Bug guarded: nobody knew of that process yet, so nobody ended it."""
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *values, **options) -> None:
            super().__init__(*values, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)  # in which the main thread handles it, wherever it is

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    plan = ServePlan(("sleep", "600"), url=f"http://127.0.0.1:{own_port()}")
    # A shell that starts a job in the background has it ignore SIGINT; so may whoever started us.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), ServerProcess(plan, tmp_path / "log"):
            pass
    finally:
        signal.signal(signal.SIGINT, handler)
    codes = [process.poll() for process in started]
    for process in started:
        process.kill()
    assert codes == [-signal.SIGTERM]


def test_a_second_interrupt_does_not_wait_for_a_stubborn_server(
    model: Path, stand_in: Path, tmp_path: Path
) -> None:
    cli = Cli(model, stand_in, tmp_path, "stubborn")
    cli.ready_line()
    cli.process.send_signal(signal.SIGINT)
    wait_until(cli.state_path.with_name("state.json.terminated").exists)
    assert cli.process.poll() is None, "it waits for the server to end by itself"
    cli.process.send_signal(signal.SIGINT)
    code, _ = cli.end()
    assert code == 130
    wait_until(lambda: not any(alive(pid) for pid in cli.state["pids"]))


def test_a_server_that_does_not_start_shows_its_log(model: Path, stand_in: Path, tmp_path: Path) -> None:
    cli = Cli(model, stand_in, tmp_path, "die")
    code, err = cli.end()
    assert code == 1
    assert "the server ended before it was ready, with exit code 7" in err
    assert "No available memory for the cache blocks." in err
    log = re.search(r"Whole log: (\S+)\.", err)
    assert log and "No available memory" in Path(log.group(1)).read_text()


def test_a_server_that_falls_later_is_a_failure(model: Path, stand_in: Path, tmp_path: Path) -> None:
    cli = Cli(model, stand_in, tmp_path, "fall", "--log", str(tmp_path / "server.log"))
    code, err = cli.end()
    assert code == 1
    assert "the server ended by itself, with exit code 3" in err
    assert "EngineDeadError" in (tmp_path / "server.log").read_text()
    wait_until(lambda: not any(alive(pid) for pid in cli.state["pids"]))


def test_a_server_that_never_gets_ready_is_given_up(model: Path, stand_in: Path, tmp_path: Path) -> None:
    cli = Cli(model, stand_in, tmp_path, "never", "--timeout", "2")
    code, err = cli.end()
    assert (code, "was not ready after 2 s" in err) == (1, True)
    wait_until(lambda: not any(alive(pid) for pid in cli.state["pids"]))


def test_a_server_that_wants_a_key_is_up(model: Path, stand_in: Path, tmp_path: Path) -> None:
    cli = Cli(model, stand_in, tmp_path, "locked", "--json")
    assert json.loads(cli.ready_line())["url"] == f"http://127.0.0.1:{cli.port}"
    cli.process.send_signal(signal.SIGTERM)
    assert cli.end()[0] == 143


def test_a_taken_port_is_refused_before_anything_starts(
    model: Path, stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(model), "--python", str(stand_in), "--port", str(port)]) == 1
    assert f"--port must be free on 127.0.0.1, got {port}" in capsys.readouterr().err
    assert not (tmp_path / "state.json").exists()


def test_print_starts_nothing(
    model: Path, stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["serve", str(model), "--python", str(stand_in), "--print"]
    assert main([*arguments, "--", "--dtype", "float32"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1
    assert shown.endswith(" --dtype float32\n")
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["command"][0] == str(stand_in)
    assert not (tmp_path / "state.json").exists()


def test_the_python_can_be_named_once_and_for_all(
    model: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMRAG_VLLM_PYTHON", str(stand_in))
    assert main(["serve", str(model), "--print"]) == 0
    assert f" {stand_in} -m vllm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--port=70000", "--port"),
        ("--mode=chat", "--mode"),
        ("--timeout=0", "--timeout"),
        ("stray", "follow --"),
    ],
)
def test_wrong_usage_exits_with_two(argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "m", argument]) == 2
    assert message in capsys.readouterr().err


def test_a_process_must_be_started_before_it_is_asked() -> None:
    with pytest.raises(RuntimeError, match="must be started first"):
        ServerProcess(ServePlan(("true",))).poll()
