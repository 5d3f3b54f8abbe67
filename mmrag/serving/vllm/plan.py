"""The command that serves a model for a use; pure, so that every flag can be tested."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmrag.errors import ServeError
from mmrag.masking import MASK, is_secret_name, mask_arguments
from mmrag.serving.vllm.facts import CheckpointFacts, ModelFacts, ServingPython

MODES = ("rerank", "embed", "answer")
_TEMPLATES = Path(__file__).parent / "templates"

# Models that judge by the logits of "yes" and "no": vLLM needs to know that they are classifiers, and
# which prompt they learnt. Without both every score is near 0.5.
_YES_NO = {
    "Qwen3VLForConditionalGeneration": ("Qwen3VLForSequenceClassification", "qwen3_vl_reranker.jinja"),
    "Qwen3ForCausalLM": ("Qwen3ForSequenceClassification", "qwen3_reranker.jinja"),
}
# Classes of mmrag's plugin, by model_type: `mmrag.models.served`.
_OWN_CLASSES = {"qwen3_vl": "MmragQwen3VLEmbedder", "internvl": "MmragInternVLEmbedder"}
INPUT_TOKENS = 8192
"""Most tokens of an input of our own embedders (`mmrag.models.mllm_embedder.MAX_TOKENS`)."""
# vLLM's names for the ways in which models mark their thoughts, by the start of the model type.
_THOUGHT_PARSERS = (
    ("qwen3", "qwen3"),
    ("deepseek", "deepseek_r1"),
    ("glm4", "glm45"),
    ("gpt_oss", "openai_gptoss"),
)


@dataclass(frozen=True, slots=True)
class ServePlan:
    """A command that starts a server. Secrets are in no repr and in nothing that is shown.

    Attributes:
        command: the program and its arguments.
        environment: variables to add.
        url: of the server.
        model: name under which the model is served.
        mode: the use: rerank, embed or answer.
        notes: reasons for the choice that the user should read.
    """

    command: tuple[str, ...] = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str = "http://127.0.0.1:8000"
    model: str = ""
    mode: str = "answer"
    notes: tuple[str, ...] = ()

    def shell(self) -> str:
        """Return the command as a line for a shell, its variables in front and its secrets masked."""
        environment = self.shown_environment().items()
        variables = [f"{name}={shlex.quote(value)}" for name, value in environment]
        return " ".join([*variables, shlex.join(self.shown_command())])

    def shown_command(self) -> list[str]:
        """Return the command with its secrets masked."""
        return mask_arguments(self.command)

    def shown_environment(self) -> dict[str, str]:
        """Return the variables with their secrets masked."""
        return {name: MASK if is_secret_name(name) else value for name, value in self.environment.items()}


def plan_server(
    model: str,
    facts: ModelFacts,
    python: ServingPython,
    *,
    mode: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    extra: Sequence[str] = (),
) -> ServePlan:
    """Plan the command that serves a model for a use.

    Args:
        model: the folder or hub id.
        facts: from its files.
        python: the Python that has vLLM.
        mode: ``rerank`` (``/rerank`` and ``/score``), ``embed`` (``/v1/embeddings``) or ``answer`` (chat,
            for answers and for the reranking modes that ask a chat model); None goes by the model.
        host: the address it listens at.
        port: the port it listens at.
        extra: arguments for vLLM; they come last, so they win over those set here.

    Raises:
        ServeError: the model cannot be served in this mode, as far as we know.
        ValueError: an unknown mode.
    """
    if mode is not None and mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}.")
    use = mode or _usual_mode(facts)
    notes = [] if mode else [f"mode {use}, by the model's name and configuration; --mode says otherwise"]
    if not facts.architectures:
        notes.append(f"the configuration of {model} could not be read: these flags go by its name alone")
    if use == "embed" and facts.checkpoint is not None:
        flags = _nested(facts, facts.checkpoint, python, extra, notes)
    else:
        flags = {"rerank": _rerank, "embed": _embed, "answer": _answer}[use](facts, extra, notes)
    flags += _format(python, extra, notes)
    user_name = flag_value(extra, "--served-model-name")
    name = user_name or (facts.name if facts.folder else model)
    name_flag = ["--served-model-name", name] if facts.folder and not user_name else []
    source = str(facts.folder.resolve()) if facts.folder else model
    command = [python.path, "-m", "vllm.entrypoints.openai.api_server", "--model", source, *name_flag]
    key, arguments = take_key(extra)
    command += ["--host", host, "--port", str(port), *flags, *arguments]
    environment = {**_environment(facts, python), **({KEY_VARIABLE: key} if key else {})}
    return ServePlan(tuple(command), environment, _url(host, port), name, use, tuple(notes))


KEY_VARIABLE = "VLLM_API_KEY"
CPU_CACHE_GB = "4"
"""Memory for keys and values on a CPU; the variable of the same name in the environment says otherwise."""


def _usual_mode(facts: ModelFacts) -> str:
    if facts.checkpoint is not None:
        return "embed"
    words = " ".join([facts.name, *facts.architectures]).lower()
    if "rerank" in words or "forsequenceclassification" in words:
        return "rerank"
    return "embed" if "embed" in words else "answer"


def _rerank(facts: ModelFacts, extra: Sequence[str], notes: list[str]) -> list[str]:
    flags = ["--runner", "pooling"]
    if flag_value(extra, "--hf-overrides", "--hf_overrides") is not None:
        return flags  # whoever overrides the configuration knows the model
    architecture = _architecture(facts)
    if architecture in _YES_NO:
        return flags + _yes_no(facts, architecture, extra, notes)
    if architecture and architecture.endswith(("ForCausalLM", "ForConditionalGeneration")):
        raise ServeError(
            f"--mode rerank needs a model that is a reranker, got {facts.name} ({architecture}). "
            "A chat model judges by ThinkReranker: serve it with --mode answer. "
            "If it is one all the same, pass its --hf-overrides after --."
        )
    return flags


def _yes_no(facts: ModelFacts, architecture: str, extra: Sequence[str], notes: list[str]) -> list[str]:
    """Return the flags that make a classifier of a model which judges by "yes" and "no"."""
    classifier, template = _YES_NO[architecture]
    overrides: dict[str, object] = {
        "architectures": [classifier],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    }
    if "VL" in architecture and facts.tied is not None:
        # vLLM looks for it in the text configuration, where these models lack it.
        overrides["text_config"] = {"tie_word_embeddings": facts.tied}
    flags = ["--hf-overrides", json.dumps(overrides)]
    if flag_value(extra, "--chat-template") is None:
        flags += ["--chat-template", str(_TEMPLATES / template)]
    if "rerank" not in facts.name.lower():
        notes.append(
            f"{facts.name} is not called a reranker: its scores mean little if it was not trained so; "
            "a chat model judges by ThinkReranker, with --mode answer"
        )
    return flags


def _embed(facts: ModelFacts, extra: Sequence[str], notes: list[str]) -> list[str]:
    flags = ["--runner", "pooling"]
    generates = (_architecture(facts) or "").endswith(("ForCausalLM", "ForConditionalGeneration"))
    if generates and flag_value(extra, "--convert") is None:
        flags += ["--convert", "embed"]
        if "embed" not in facts.name.lower():
            notes.append(
                f"{facts.name} is not called an embedder: its vectors mean little if it was not trained to"
            )
    return flags + _embedding_template(facts, extra, notes)


def _embedding_template(facts: ModelFacts, extra: Sequence[str], notes: list[str]) -> list[str]:
    """Return the flag of a chat template that ends in the token whose state is the vector."""
    is_named = facts.name.lower().startswith("wemm-embedding")
    if not facts.embedding_template and not is_named:
        return []
    notes.append(
        f"{facts.name} is read at a token that its chat template adds, and plain input has no template: use "
        'ServedEmbedder(url, modalities=("text", "image"))'
    )
    if flag_value(extra, "--chat-template") is not None:
        return []
    if facts.embedding_template:
        return ["--chat-template", facts.embedding_template]
    raise ServeError(
        f"{facts.name} needs the file embedding_chat_template.jinja of its repository, got none. Fetch the "
        f"repository (hf download) and give its folder, or pass --chat-template FILE after --."
    )


def _nested(
    facts: ModelFacts,
    checkpoint: CheckpointFacts,
    python: ServingPython,
    extra: Sequence[str],
    notes: list[str],
) -> list[str]:
    """Return the flags of a checkpoint of ours, whose class and replies are mmrag's plugin in vLLM."""
    if facts.model_type not in _OWN_CLASSES:
        raise ServeError(
            f"vLLM serves checkpoints of {', '.join(_OWN_CLASSES)} with their meta tokens, got "
            f"{facts.model_type!r} in {facts.name}. Load it in process: --embedder {facts.name}."
        )
    if not python.plugin:
        raise ServeError(
            f"{facts.name} needs mmrag's plugin in vLLM's environment, got {python.path}, which has none. "
            "Install the package there: pip install mmrag."
        )
    flags = ["--runner", "pooling", "--io-processor-plugin", "mmrag"]
    if flag_value(extra, "--hf-overrides", "--hf_overrides") is None:
        overrides: dict[str, object] = {"architectures": [_OWN_CLASSES[facts.model_type]]}
        if not checkpoint.trained:
            overrides["mmrag"] = {"allow_untrained": True}
            notes.append(f"the meta tokens of {facts.name} are untrained: its vectors mean nothing")
        flags += ["--hf-overrides", json.dumps(overrides)]
    if flag_value(extra, "--max-model-len") is None:
        # what the embedder reads at most; more would only reserve memory
        length = INPUT_TOKENS + checkpoint.meta_tokens + 1
        flags += ["--max-model-len", str(min(length, facts.context or length))]
    return flags


def _answer(facts: ModelFacts, extra: Sequence[str], notes: list[str]) -> list[str]:
    flags = []
    if flag_value(extra, "--structured-outputs-config") is None:
        # A grammar allows any amount of white space, and a weak model fills its answer with it.
        config = {"backend": "xgrammar", "disable_any_whitespace": True}
        flags += ["--structured-outputs-config", json.dumps(config)]
    thinks = "<think>" in facts.template or facts.model_type.startswith("gpt_oss")
    if thinks and flag_value(extra, "--reasoning-parser") is None:
        parser = next((name for start, name in _THOUGHT_PARSERS if facts.model_type.startswith(start)), None)
        if parser:
            flags += ["--reasoning-parser", parser]
        else:
            notes.append(
                f"{facts.name} thinks, but no reasoning parser is known here for {facts.model_type!r}: "
                "its thoughts stay in the text; pass --reasoning-parser after -- if vLLM has one"
            )
    return flags


def _format(python: ServingPython, extra: Sequence[str], notes: list[str]) -> list[str]:
    if python.bfloat16 or flag_value(extra, "--dtype") is not None:
        return []
    notes.append(
        "this processor has no instructions for bfloat16, so the model runs in float32, which is faster here "
        "and takes twice the memory; pass --dtype after -- for another format"
    )
    return ["--dtype", "float32"]


def _architecture(facts: ModelFacts) -> str | None:
    if facts.architectures:
        return facts.architectures[0]
    # The hub could not be reached: these two families are known by their names.
    if facts.name.startswith("Qwen3-VL-"):
        return "Qwen3VLForConditionalGeneration"
    return "Qwen3ForCausalLM" if facts.name.startswith("Qwen3-Reranker") else None


def take_key(extra: Sequence[str]) -> tuple[str, list[str]]:
    """Return the key that the server is to demand, and the arguments without it.

    vLLM takes it from the environment as well, where no other user sees it and no log has it. Several keys
    stay arguments, since the environment has room for one.
    """
    arguments = list(extra)
    at = next((at for at, word in enumerate(arguments) if word.partition("=")[0] == "--api-key"), None)
    if at is None:
        return "", arguments
    _, equals, value = arguments[at].partition("=")
    end = at + 1
    while not equals and end < len(arguments) and not arguments[end].startswith("-"):
        end += 1
    values = [value] if equals else arguments[at + 1 : end]
    return ("", arguments) if len(values) != 1 else (values[0], arguments[:at] + arguments[end:])


def flag_value(extra: Sequence[str], *flags: str) -> str | None:
    """Return the value of the first of these flags in the extra arguments.

    ``""`` if no value follows the flag; None if none of the flags is there.
    """
    for at, argument in enumerate(extra):
        name, equals, value = argument.partition("=")
        if name in flags:
            return value if equals else (extra[at + 1] if at + 1 < len(extra) else "")
    return None


def _environment(facts: ModelFacts, python: ServingPython) -> dict[str, str]:
    environment = {"VLLM_NO_USAGE_STATS": "1"}
    if facts.folder is not None:
        environment["HF_HUB_OFFLINE"] = "1"  # nothing is missing, so nothing is looked up
    if python.cpu:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # binding fails where cores are shared out
        # left alone vLLM reserves 92 % of the machine's memory, and does not start where less is free
        environment["VLLM_CPU_KVCACHE_SPACE"] = CPU_CACHE_GB
        # a step that other work on the machine holds up for five minutes would else end the server
        environment["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"] = "7200"
    return environment


def _url(host: str, port: int) -> str:
    address = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
