"""Which checkpoint is whose: the rule, on folders as repositories lay them out."""

import json
import subprocess
import sys

import pytest

from mmrag.models.foreign import FAMILIES, family_of, find

from .tiny_foreign import make_qwen3_vl_embedding

QWEN = {"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"]}


def with_files(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("model_type", ["colpali", "colqwen2", "colmodernvbert"])
def test_a_model_type_of_its_own_is_enough(tmp_path, model_type):
    assert family_of(tmp_path, {"model_type": model_type}) == model_type
    assert find(tmp_path, {"model_type": model_type}).__name__.lower() == f"{model_type}embedder"


@pytest.mark.parametrize("pooling", [{"pooling_mode": "lasttoken"}, {"pooling_mode_lasttoken": True}])
def test_qwen3_vl_laid_out_for_sentence_transformers_is_an_embedder(tmp_path, pooling):
    assert (
        family_of(with_files(tmp_path, modules=[], **{"1_Pooling__config": pooling}), QWEN)
        == "qwen3_vl_embedding"
    )


def test_qwen3_vl_with_another_pooling_is_no_foreign_checkpoint(tmp_path):
    with_files(tmp_path, modules=[], **{"1_Pooling__config": {"pooling_mode": "mean"}})

    assert family_of(tmp_path, QWEN) is None


def test_qwen3_vl_embedding_is_known_by_its_name_or_its_architecture(tmp_path):
    assert family_of(tmp_path, QWEN) is None
    assert family_of(tmp_path, QWEN, "Qwen/Qwen3-VL-Embedding-2B") == "qwen3_vl_embedding"
    (named := tmp_path / "Qwen3-VL-Embedding-2B").mkdir()
    assert family_of(named, QWEN) == "qwen3_vl_embedding"
    assert family_of(tmp_path, {**QWEN, "architectures": ["Qwen3VLForEmbedding"]}) == "qwen3_vl_embedding"
    assert family_of(tmp_path, {"model_type": "qwen2_5_vl"}, "my/Qwen3-VL-Embedding") is None


def test_a_checkpoint_of_ours_is_never_foreign(tmp_path):
    folder = with_files(
        tmp_path, mmrag_config={}, modules=[], **{"1_Pooling__config": {"pooling_mode": "lasttoken"}}
    )

    assert family_of(folder, QWEN, "Qwen/Qwen3-VL-Embedding-2B") is None


def test_the_caller_knows_better(tmp_path):
    assert find(tmp_path, QWEN) is None
    assert find(tmp_path, QWEN, family="qwen3_vl_embedding").__name__ == "Qwen3VLEmbedding"
    with pytest.raises(ValueError, match=r"family must be one of .*colpali.*, got 'bert'"):
        find(tmp_path, QWEN, family="bert")


def test_an_adapter_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"LoRA adapter alone.*-hf"):
        family_of(with_files(tmp_path, adapter_config={}), {})


def test_the_made_checkpoint_is_found(tmp_path):
    folder = make_qwen3_vl_embedding(tmp_path / "model")

    assert family_of(folder, json.loads((folder / "config.json").read_text())) == "qwen3_vl_embedding"


def test_looking_imports_no_torch():
    code = "import sys, mmrag.models.foreign; print('torch' in sys.modules)"

    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )


def test_every_family_has_a_class():
    for family in FAMILIES:
        assert hasattr(find(None, {}, family=family), "from_folder")
