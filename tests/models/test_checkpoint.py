"""What a checkpoint is, what of it may be asked for, and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmrag import Budget, MLLMEmbedder
from mmrag.embedders.base import Content
from mmrag.machine import has_bfloat16
from mmrag.models import checkpoint
from mmrag.models.checkpoint import CONFIG_FILE, TABLES_FILE, CheckpointConfig
from mmrag.models.compression import Compression
from mmrag.models.device import pick_device, pick_dtype
from mmrag.models.digests import state_digest
from mmrag.models.prompt import Prompts

from .families import MULTIMODAL

SMALL = {"max_visual_tokens": 16, "device": "cpu"}


def documents() -> list:
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    return ["Net sales fell.", Content("A chart", Image.fromarray(noise)), ""]


def same(one: MLLMEmbedder, other: MLLMEmbedder) -> bool:
    """Up to float32's last bits: weights that were read from a file may lie at another alignment."""
    pairs = zip(one.encode_document(documents()), other.encode_document(documents()), strict=True)
    return all(np.allclose(a, b, rtol=0, atol=1e-5) for a, b in pairs)


@pytest.fixture(scope="module")
def plain(tiny_folder):
    """A backbone without tables, as a family publishes it."""
    return tiny_folder("qwen3_vl")


@pytest.fixture(scope="module")
def trained(plain, tmp_path_factory):
    """A checkpoint that says it was trained, with a projection to 24; copy it before changing it."""
    made = MLLMEmbedder.from_pretrained(plain, allow_untrained=True, dim=24, **SMALL)
    folder = tmp_path_factory.mktemp("trained")
    checkpoint.save(folder, made.model, replace(made.config, trained=True))
    return folder


@pytest.fixture
def broken(trained, tmp_path):
    """A copy to break."""
    return shutil.copytree(trained, tmp_path / "broken")


def load(folder, **options) -> MLLMEmbedder:
    return MLLMEmbedder.from_pretrained(folder, **{**SMALL, **options})


# --- round trip


@pytest.mark.parametrize("family", MULTIMODAL)
@pytest.mark.parametrize("options", [{}, {"dim": 8}, {"pooling": "last", "dim": 32}], ids=str)
def test_saved_and_loaded_gives_the_same_vectors_and_fingerprint(family, options, tiny_folder, tmp_path):
    first = load(tiny_folder(family), allow_untrained=True, compression=3, **options)
    first.save_pretrained(tmp_path)
    again = load(tmp_path, allow_untrained=True)
    assert again.fingerprint == first.fingerprint
    assert again.config == first.config and again.dim == first.dim
    assert same(first, again)
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.suffix not in (".json", ".jinja", ".txt")) in (
        [".safetensors"], [".safetensors"] * 2,
    )  # fmt: skip


def test_transformers_reads_a_saved_checkpoint(trained):
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(trained)
    assert type(model).__name__ == "Qwen3VLModel"
    assert len(AutoTokenizer.from_pretrained(trained)("abc").input_ids) == 3


def test_a_smaller_budget_is_used_and_the_whole_table_is_saved(trained, tmp_path):
    small = load(trained, budget=Budget(2, 5))
    small.save_pretrained(tmp_path)
    whole = load(tmp_path)
    assert small.budget == Budget(2, 5) and whole.budget == Budget(16, 64)
    assert whole.fingerprint == load(trained).fingerprint


def test_an_untrained_table_is_the_same_noise_every_time(plain):
    before = torch.rand(1, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    one, other = load(plain, allow_untrained=True), load(plain, allow_untrained=True)
    assert torch.equal(torch.rand(1), before), "loading moved the caller's random numbers"
    assert one.fingerprint == other.fingerprint and same(one, other)


def test_a_save_that_breaks_off_leaves_no_checkpoint(trained, broken, monkeypatch):
    """Bug guarded: new weights beside an old config would load as a trained model."""
    made = load(trained)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="no space left"):
        made.save_pretrained(broken)
    assert not (broken / CONFIG_FILE).exists()


# --- identity


def test_fingerprint_changes_with_all_that_changes_vectors(trained, plain):
    class Way:
        fingerprint = "think hard"

        def think_queries(self, queries):
            return [""] * len(queries)

        think_documents = think_queries

    settings = [
        {},
        {"compression": 1},
        {"compression": Compression(2, antialias=True)},
        {"max_visual_tokens": 20},
        {"max_tokens": 100},
        {"budget": Budget(16, 63)},
        {"pooling": "last"},
        {"pooling": "last", "dim": 8},
        {"prompts": Prompts(query="other")},
        {"page_text": True},
        {"page_text": "auto"},
        {"thoughts": Way()},
    ]
    found = {load(trained, **one).fingerprint for one in settings}
    assert len(found) == len(settings)
    assert load(plain, allow_untrained=True, dim=24).fingerprint == load(trained).fingerprint


def test_fingerprint_stays_with_what_changes_no_vector(trained):
    others = [{"dtype": "bfloat16"}, {"batch_size": 1}, {"budget": Budget(3, 64)}, {"on_error": "skip"}]
    assert {load(trained, **one).fingerprint for one in others} == {load(trained).fingerprint}


@pytest.mark.parametrize("name", ["meta.query", "meta.document", "projection.weight"])
def test_fingerprint_sees_one_number_of_a_table(broken, name):
    before = load(broken).fingerprint
    tables = load_file(broken / TABLES_FILE)
    tables[name][0, 0] += 1e-6
    save_file(tables, broken / TABLES_FILE)
    assert load(broken).fingerprint != before


def test_fingerprint_sees_weights_and_tokenizer(broken):
    before = load(broken).fingerprint
    weights = load_file(broken / "model.safetensors")
    name = sorted(weights)[0]
    weights[name].view(-1)[0] *= 1.02  # more than bfloat16 rounds away
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    changed = load(broken).fingerprint
    assert changed != before
    tokenizer = json.loads((broken / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"]["add_prefix_space"] = True
    (broken / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert load(broken).fingerprint not in (before, changed)


def test_the_digest_of_weights_by_hand():
    """Names and precision do not count, values and shapes do."""
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])
    digest = state_digest([a, b])
    assert digest == state_digest([b.to(torch.bfloat16), a.double()])
    assert digest != state_digest([a[:, None], b]) and digest != state_digest([a, b + 1])
    assert state_digest([torch.tensor([1, 2])]) != state_digest([torch.tensor([1, 3])])


# --- what may be asked for


def test_what_is_left_out_is_the_checkpoints_own(plain, tmp_path):
    first = load(
        plain, allow_untrained=True, compression=3, budget=Budget(2, 7), prompts=Prompts("a", "b", "c: ")
    )
    first.save_pretrained(tmp_path)
    again = load(tmp_path, allow_untrained=True)
    assert again.config.compression == Compression(3) and again.budget == Budget(2, 7)
    assert again.config.prompts == Prompts("a", "b", "c: ") and again.max_visual_tokens == 16
    plain_one = MLLMEmbedder.from_pretrained(plain, allow_untrained=True)
    assert (plain_one.config.compression.factor, plain_one.budget) == (2, Budget(16, 64))


@pytest.mark.parametrize(("factor", "tokens"), [(1, 1280), (2, 320), (3, 142), (4, 80)])
def test_visual_tokens_fall_with_the_square_and_pixels_stay(plain, factor, tokens):
    made = MLLMEmbedder.from_pretrained(plain, allow_untrained=True, compression=factor)
    assert made.max_visual_tokens == tokens
    assert made.image_pixels == pytest.approx(1280 * 16**2, rel=0.002)  # 16 pixels a side of a token


def test_visual_tokens_of_another_compression_are_not_taken_over(trained, caplog):
    """16 tokens at s = 2 are the pixels of 64; at s = 4 they would be those of 256."""
    with caplog.at_level(logging.WARNING, logger="mmrag"):
        made = MLLMEmbedder.from_pretrained(trained, compression=4)
    assert made.max_visual_tokens == 80
    assert [record.message.split(" and is used with ")[1][:20] for record in caplog.records] == [
        "Compression(factor=4"
    ]
    assert MLLMEmbedder.from_pretrained(trained).max_visual_tokens == 16


def test_untrained_vectors_are_refused_unless_asked_for(plain, tmp_path):
    with pytest.raises(
        ValueError, match="must be trained to retrieve with, got a checkpoint without a table"
    ):
        load(plain)
    load(plain, allow_untrained=True).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"got an untrained table.*pooling='last'.*allow_untrained=True"):
        load(tmp_path)


def test_an_untrained_table_is_not_said_to_be_trained(plain, tmp_path, caplog):
    load(plain, allow_untrained=True).save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, logger="mmrag"):
        load(tmp_path, allow_untrained=True, compression=3)
    assert caplog.records == []


def test_a_single_vector_needs_no_table_and_says_what_it_does_not_know(plain, caplog):
    with caplog.at_level(logging.WARNING, logger="mmrag"):
        made = load(plain, pooling="last")
    assert made.budget == Budget(1, 1) and "nothing says that" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": Budget(17, 64)}, r"budget.query must be at most 16 \(the meta tokens .*\), got 17"),
        ({"budget": Budget(16, 65)}, r"budget.document must be at most 64 .*, got 65"),
        ({"dim": 12}, "dim must be left out for a checkpoint with a projection to 24, got 12"),
        ({"pooling": "last", "dim": 65}, "dim must be 1 to 64"),
        ({"pooling": "mean"}, r"pooling must be one of \('meta', 'last'\), got 'mean'"),
        ({"compression": 5}, "compression must be one of"),
        ({"max_visual_tokens": 0}, "max_visual_tokens must be a whole number of at least 1, got 0"),
        ({"max_tokens": 0}, "max_tokens must be a whole number"),
        ({"batch_size": True}, "batch_size must be a whole number of at least 1, got True"),
        ({"page_text": "yes"}, "page_text must be one of True, False, 'auto', got 'yes'"),
        ({"on_error": "ignore"}, "on_error must be one of 'raise', 'skip', got 'ignore'"),
        ({"device": "tpu"}, "device must be"),
        ({"dtype": "int8"}, "dtype must be 'auto', 'float32', 'bfloat16' or 'float16', got 'int8'"),
        ({"dtype": "float16"}, "dtype must not be float16 on a CPU"),
        ({"dtype": torch.float16}, "dtype must not be float16 on a CPU"),
    ],
)
def test_what_a_checkpoint_does_not_have_is_refused(trained, options, words):
    with pytest.raises(ValueError, match=words):
        load(trained, **options)


# --- checkpoints that are none


def test_a_missing_table_is_named(broken):
    (broken / TABLES_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=r"must have mmrag_tables\.safetensors next to mmrag_config"):
        load(broken)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("meta.document"), r"must hold meta\.document, got meta\.query, projection\.weight"),
        (lambda t: t.update({"meta.query": torch.zeros(15, 64)}), r"must be \(16, 64\).* got \(15, 64\)"),
        (lambda t: t.update({"projection.weight": torch.zeros(24, 63)}), r"must be \(24, 64\).* got"),
        (lambda t: t["meta.document"].__setitem__((3, 3), float("nan")), "must be finite, got NaN"),
        (
            lambda t: t["projection.weight"].__setitem__((3, 3), float("inf")),
            "projection.weight of .* finite",
        ),
    ],
    ids=["missing", "query", "projection", "nan", "inf"],
)
def test_a_wrong_table_is_refused(broken, change, words):
    tables = load_file(broken / TABLES_FILE)
    change(tables)
    save_file(tables, broken / TABLES_FILE)
    with pytest.raises(ValueError, match=words):
        load(broken)


def test_a_table_that_is_no_safetensors_is_refused(broken):
    (broken / TABLES_FILE).write_bytes(b"pickle, perhaps")
    with pytest.raises(ValueError, match="must be safetensors, got"):
        load(broken)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format_version=2), "format_version must be 1, got 2"),
        (lambda c: c.pop("format_version"), "format_version"),
        (lambda c: c.update(pooling="mean"), "pooling must be one of"),
        (lambda c: c.update(budget={"query": 0, "document": 1}), "budget.query must be"),
        (lambda c: c.update(compression={"factor": 9}), "compression must be one of"),
        (lambda c: c.update(surprise=1), "surprise"),
    ],
    ids=["newer", "unversioned", "pooling", "budget", "compression", "unknown"],
)
def test_a_config_of_another_kind_is_refused(broken, change, words):
    config = json.loads((broken / CONFIG_FILE).read_text())
    change(config)
    (broken / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"(?s)mmrag_config.json must be one .*{words}"):
        load(broken)


def test_a_config_that_is_no_json_is_refused(broken):
    (broken / CONFIG_FILE).write_text("{")
    with pytest.raises(ValueError, match="must be one that this version of mmrag writes"):
        load(broken)
    (broken / CONFIG_FILE).unlink()
    (broken / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="must be a JSON object, got list"):
        load(broken)


def test_code_of_a_checkpoint_is_never_run(broken):
    (broken / CONFIG_FILE).unlink()
    (broken / "modeling_evil.py").write_text("raise SystemExit('ran')")
    config = {"model_type": "evil", "auto_map": {"AutoModel": "modeling_evil.EvilModel"}}
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"model_type must be one of .* got 'evil'.*code of its own.*never run"
    ):
        load(broken)


def test_pickled_weights_are_not_read(broken):
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(FileNotFoundError, match=r"must be safetensors, got pytorch_model\.bin"):
        load(broken)


def test_weights_of_another_model_are_refused(broken, tiny_folder):
    shutil.copy(tiny_folder("qwen2_5_vl") / "model.safetensors", broken)
    with pytest.raises(ValueError, match="must hold every weight of Qwen3VLModel"):
        load(broken)


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must have a config\.json"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="must be a folder or a hub name like 'org/name'"):
        load("nope")
    with pytest.raises(FileNotFoundError, match="must be a folder or a hub name"):
        load(tmp_path / "a" / "b")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_hub_name_offline_says_what_to_do(how, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    if how == "environment":
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    words = r"'mmrag-test/nowhere' must be a folder here.*hf download mmrag-test/nowhere.*HF_HUB_OFFLINE"
    with pytest.raises(FileNotFoundError, match=f"(?s){words}"):
        load("mmrag-test/nowhere", local_files_only=how == "argument")


def test_a_hub_name_in_the_cache_is_loaded(trained, monkeypatch, tmp_path):
    """The cache is laid out by hand as the hub's client does it."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--org--tiny"
    shutil.copytree(trained, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    made = load("org/tiny", local_files_only=True)
    assert made.name == "org/tiny (compression 2)"
    assert made.fingerprint == load(trained).fingerprint


# --- where it computes


def test_the_number_format_of_a_cpu():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    half = torch.bfloat16 if has_bfloat16() else torch.float32
    assert pick_dtype("auto", torch.float16, cpu) == half
    assert pick_dtype("auto", torch.bfloat16, cpu) == half
    assert pick_dtype("auto", torch.float32, cpu) == torch.float32
    assert pick_dtype("auto", torch.float16, cuda) == torch.float16
    assert pick_dtype("float16", torch.float32, cuda) == torch.float16
    assert pick_device("cpu") == cpu
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="must be one that this machine has, got 'cuda'"):
            pick_device("cuda")


def test_a_config_is_what_it_is_written_as():
    config = CheckpointConfig("qwen3_vl", Compression(3, antialias=True), dim=7, trained=True)
    assert CheckpointConfig.from_json(config.to_json(), "x") == config
