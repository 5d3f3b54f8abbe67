"""Which checkpoint is whose: the rule, on folders as repositories lay them out."""

import json
import subprocess
import sys

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from mmrag import Budget, DocumentQA, MLLMEmbedder
from mmrag.embedders.base import Content, Embedder
from mmrag.errors import BadInputError
from mmrag.models.prompt import Prompts
from mmrag.models.registry import EMBEDDERS, embedder_for, family_of

from .tiny_foreign import MAKERS, copy_of, make_qwen3_vl_embedding

FAMILIES = [family for family in EMBEDDERS if family != "multi_vector_encoder"]  # that one wants a library

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
    assert embedder_for(tmp_path, {"model_type": model_type}).__name__.lower() == f"{model_type}embedder"


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
    assert embedder_for(tmp_path, QWEN) is None
    assert embedder_for(tmp_path, QWEN, family="qwen3_vl_embedding").__name__ == "Qwen3VLEmbedding"
    with pytest.raises(ValueError, match=r"family must be one of .*colpali.*, got 'bert'"):
        embedder_for(tmp_path, QWEN, family="bert")


def test_an_adapter_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"LoRA adapter alone.*-hf"):
        family_of(with_files(tmp_path, adapter_config={}), {})


def test_the_made_checkpoint_is_found(tmp_path):
    folder = make_qwen3_vl_embedding(tmp_path / "model")

    assert family_of(folder, json.loads((folder / "config.json").read_text())) == "qwen3_vl_embedding"


def test_looking_imports_no_torch():
    code = "import sys, mmrag.models.registry; print('torch' in sys.modules)"

    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )


def test_every_family_has_a_class():
    for family in FAMILIES:
        assert hasattr(embedder_for(None, {}, family=family), "from_folder")


# ---- through the door ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("foreign")
    return {family: make(root / family) for family, make in MAKERS.items()}


def load(folder, **options):
    return MLLMEmbedder.from_pretrained(folder, device="cpu", dtype="float32", **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_from_pretrained_opens_it_and_a_bad_input_is_left_out(folders, family):
    embedder = load(folders[family], on_error="skip")
    picture = Image.new("RGB", (60, 80), "white")
    found = embedder.encode_document([picture_of(picture), 3, picture_of(Image.new("RGB", (900, 2))), "text"])

    assert isinstance(embedder, Embedder) and embedder.name == family
    assert embedder.nested is family.endswith("_embedding")
    assert [one is None for one in found] == [False, True, True, False]
    assert list(found.skipped) == [1, 2] and "at most 200 times" in found.skipped[2]
    with pytest.raises(BadInputError, match="document 1: an image must be at most 200 times"):
        embedder.encode_document(["x", picture_of(Image.new("RGB", (900, 2)))], on_error="raise")


def picture_of(image):
    return Content(image=image)


def test_a_text_that_is_cut_is_marked(folders):
    for family in FAMILIES:
        found = load(folders[family], max_tokens=100).encode_query(["short", "long " * 200])
        assert found.cut == [1]


def test_options_of_its_own_reach_it_and_others_are_refused(folders):
    assert load(folders["colqwen2"], query_template="{query}").query_template == "{query}"
    assert load(folders["qwen3_vl_embedding"], instruction="Find it").instruction == "Find it."
    assert load(folders["colpali"], compression=1, budget=Budget(1, 8)).pooled_rows == 8
    for family in ("colpali", "qwen3_vl_embedding"):
        with pytest.raises(ValueError, match=r"prompts does not apply to .* checkpoints"):
            load(folders[family], prompts=Prompts())
        with pytest.raises(ValueError, match=r"pooling does not apply to .* checkpoints"):
            load(folders[family], pooling="meta")
        with pytest.raises(TypeError, match=r"take no colour; they take .*batch_size"):
            load(folders[family], colour="red")
    with pytest.raises(TypeError, match="takes no instruction for this checkpoint"):
        load(folders["qwen3_vl_embedding"], family="mmrag", allow_untrained=True, instruction="x")


def test_the_same_folder_can_be_a_plain_backbone(folders):
    embedder = load(folders["qwen3_vl_embedding"], family="mmrag", pooling="last")

    assert isinstance(embedder, MLLMEmbedder)


def test_half_a_checkpoint_is_refused(folders, tmp_path):
    bare = copy_of(folders["colpali"], tmp_path / "bare")
    weights = bare / "model.safetensors"
    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if "embedding_proj" not in k}, weights, {"format": "pt"})
    with pytest.raises(ValueError, match=r"must fill the whole model, got none for .*embedding_proj_layer"):
        load(bare)
    weights.unlink()
    (bare / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(FileNotFoundError, match=r"must be safetensors, got pytorch_model\.bin"):
        load(bare)


@pytest.mark.parametrize("family", ["colmodernvbert", "qwen3_vl_embedding"])
def test_documents_are_asked_by_it_end_to_end(folders, family, make_pdf, tmp_path):
    path = make_pdf(tmp_path / "a.pdf", ["The pump ran 364 hours.", "Nothing of note.", "Fruit and bread."])
    embedder = load(folders[family])
    with DocumentQA.open(tmp_path / "index", embedder=embedder) as qa:
        qa.add(path)
        ranking = qa.search("How long did the pump run?", k=3)
        assert len(ranking) == 3
        exact = qa.index.search_vectors(
            embedder.encode_query(["How long did the pump run?"])[0], k=3, exact=True
        )
        scores = {candidate.id: candidate.scores["vectors"] for candidate in ranking}
        assert scores == {hit.id: pytest.approx(hit.score, abs=1e-4) for hit in exact}
        if not embedder.nested:
            with pytest.raises(ValueError, match="budget must be left out"):
                qa.search("pump", budget=Budget(1, 1))
