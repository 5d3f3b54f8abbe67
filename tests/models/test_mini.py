"""Laws of mmrag-mini in torch: who sees whom, places, files, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from mmrag import Budget, MLLMEmbedder
from mmrag.embedders.base import Content
from mmrag.embedders.mini.quantise import pack_weights
from mmrag.errors import BadInputError
from mmrag.models import checkpoint
from mmrag.models.batch import TokenRow, collate
from mmrag.models.compression import Compression
from mmrag.models.meta_tokens import MetaTokens
from mmrag.models.mini import META, QUERY_PREFIX, MiniBackbone
from mmrag.models.mini_model import write_config
from mmrag.models.model import RetrievalModel
from mmrag.models.tiny import make_tiny

BUDGET = Budget(4, 6)
TOLERANCE = {"atol": 1e-5, "rtol": 0}  # float32; sums in another order
TEXTS = ["the cat sat", "a", "where is the longest of all of these rows of words"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("mini"), "mmrag_mini")


@pytest.fixture(scope="module")
def located(folder):
    """As it ships: a row sees its part."""
    return MiniBackbone(*MiniBackbone.load_parts(str(folder))).eval()


@pytest.fixture(scope="module")
def chained(folder):
    """A row sees everything and the rows before it."""
    made = MiniBackbone(*MiniBackbone.load_parts(str(folder))).eval()
    made.model.located = False
    return made


@pytest.fixture(params=["located", "chained"])
def backbone(request, located, chained):
    return located if request.param == "located" else chained


@pytest.fixture
def model(backbone):
    return model_of(backbone)


def model_of(backbone) -> RetrievalModel:
    torch.manual_seed(3)
    tables = MetaTokens(BUDGET, backbone.hidden_size, query_first=False)
    with torch.no_grad():
        tables.query.mul_(20)
        tables.document.mul_(20)
    return RetrievalModel(backbone, Compression(2), tables, 24).eval()


def rows_of(backbone) -> list[TokenRow]:
    return [TokenRow(tuple(backbone.tokenizer(text).input_ids)) for text in TEXTS]


def batch_of(model, rows, count, side="document"):
    return collate(rows, pad=0, meta=model.meta_count(side, count))


def vectors(model, rows, count=BUDGET.document):
    with torch.no_grad():
        return model(batch_of(model, rows, count), "document", count)


# --- who sees whom


def test_who_sees_whom_by_eye(chained):
    batch = collate([TokenRow((2, 3)), TokenRow((2, 9, 3))], pad=0, meta=2)
    mask = chained.attention_mask(batch, "document")
    assert mask[0].tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, META, 0, 0],
        [1, 1, 1, META, 0],
        [1, 1, 0, 0, 0],
    ]
    assert chained.position_ids(batch.input_ids, mask, ()).tolist() == [[0, 1, 0, 0, 0], [0, 1, 2, 0, 0]]


def test_what_located_rows_see_by_eye(located):
    """A query of six pieces after its instruction: row 0 sees all, then thirds, outer ones first."""
    prefix = located.tokenizer(QUERY_PREFIX, add_special_tokens=False).input_ids
    row = TokenRow((2, *prefix, 20, 21, 22, 23, 24, 25, 3))
    batch = collate([row], pad=0, meta=4)
    mask, start, end = located.attention_mask(batch, "query")[0], 1 + len(prefix), 1 + len(prefix) + 6
    rows = mask[-4:]
    assert rows[0].tolist() == [1] * (end + 1) + [META, 0, 0, 0]
    assert [one[: end + 1].nonzero()[:, 0].tolist() for one in rows[1:]] == [
        [start, start + 1],
        [start + 4, start + 5],
        [start + 2, start + 3],
    ]
    assert torch.equal(rows[:, end + 1 :], META * torch.eye(4, dtype=torch.long))
    assert mask[: end + 1].tolist() == [[1] * (end + 1) + [0] * 4] * (end + 1)


def test_a_located_row_is_the_row_of_a_mask_made_by_the_runtime(located):
    """`mmrag.embedders.mini.located` says what the runtime computes; one input at a time, in plain loops."""
    from mmrag.embedders.mini.located import mask_of, parts_of

    model = model_of(located)
    rows = [TokenRow((2, *range(10, 10 + length), 3)) for length in (64 - 2, 35, 7)]
    with torch.no_grad():
        made = model(batch_of(model, rows, 6), "document", 6)
        for given, vectors_ in zip(rows, made, strict=True):
            parts = parts_of(len(given.ids) - 2, most=6)
            spans = [(part.start + 1, part.end + 1) if part.level else None for part in parts]
            mask = torch.from_numpy(mask_of(len(given.ids), spans))[None, None]
            words = located.embed_tokens(torch.tensor([given.ids]))
            tables = model.meta.document[None, : len(parts)]
            states = located.model.language_model(
                inputs_embeds=torch.cat([words, tables], 1),
                attention_mask=mask,
                position_ids=torch.tensor([[*range(len(given.ids)), *[0] * len(parts)]]),
            ).last_hidden_state[0, len(given.ids) :]
            wanted = torch.nn.functional.normalize(model.projection(states), dim=-1)
            torch.testing.assert_close(vectors_[: len(parts)], wanted, **TOLERANCE)
            for missing in vectors_[len(parts) :]:
                torch.testing.assert_close(missing, wanted[0], **TOLERANCE)


def test_parts_of_a_query_share_their_levels_weight_and_missing_ones_have_none(located):
    model = model_of(located)
    prefix = located.tokenizer(QUERY_PREFIX, add_special_tokens=False).input_ids
    rows = [TokenRow((2, *prefix, *range(10, 10 + length), 3)) for length in (12, 1)]
    made = model(batch_of(model, rows, 4, "query"), "query", 4)
    torch.testing.assert_close(made.norm(dim=-1), torch.tensor([[1, 1 / 12, 1 / 12, 1 / 12], [1, 0, 0, 0]]))


def test_content_is_a_plain_bert_and_meta_tokens_change_nothing_in_it(model):
    """Bug guarded: content that sees meta tokens would differ with the budget, and prefixes with it."""
    for row in rows_of(model.backbone):
        with torch.no_grad():
            states = model.states(batch_of(model, [row], 6), model.meta.rows("document", 6))
            plain = model.backbone.model.language_model(torch.tensor([row.ids])).last_hidden_state
        torch.testing.assert_close(states[:, : len(row.ids)], plain, **TOLERANCE)


def test_a_prefix_of_r_rows_is_a_run_with_r_tokens(model):
    rows = rows_of(model.backbone)
    full = vectors(model, rows)
    for count in range(1, BUDGET.document + 1):
        torch.testing.assert_close(vectors(model, rows, count), full[:, :count], **TOLERANCE)
    if model.backbone.model.located:
        return  # these texts have one part
    flat = full.flatten(0, 1)
    assert (torch.cdist(flat, flat) + 9 * torch.eye(len(flat))).min() > 1e-2  # constants would pass, too


def test_a_later_meta_token_changes_no_earlier_row_and_every_later_one(chained):
    model = model_of(chained)
    rows = rows_of(model.backbone)
    before = vectors(model, rows)
    with torch.no_grad():
        model.meta.document[3] += torch.randn(model.backbone.hidden_size)  # a constant is normed away
    after = vectors(model, rows)
    torch.testing.assert_close(after[:, :3], before[:, :3], **TOLERANCE)
    assert ((after - before)[:, 3:].abs().amax(-1) > 1e-3).all()


def test_a_located_meta_token_changes_its_own_row_alone(located):
    model = model_of(located)
    row = TokenRow((2, *[30] * 20, *[31] * 20, *[32] * 22, 3))
    before = vectors(model, [row], 2)
    with torch.no_grad():
        model.meta.document[1] += torch.randn(located.hidden_size)
    moved = (vectors(model, [row], 2) - before).abs().amax(-1)[0]
    assert moved[0] < 1e-5 and moved[1] > 1e-3


def test_meta_tokens_see_all_content(chained):
    model = model_of(chained)
    first, second = (list(rows_of(model.backbone)[2].ids) for _ in range(2))
    second[-2] = first[-2] + 1  # the last piece before [SEP]
    moved = (vectors(model, [TokenRow(tuple(first))]) - vectors(model, [TokenRow(tuple(second))])).abs()
    assert (moved.amax(-1) > 1e-4).all()


def test_order_company_and_padding_do_not_matter(model):
    rows = rows_of(model.backbone)
    together = vectors(model, rows)
    for place, row in enumerate(rows):
        torch.testing.assert_close(vectors(model, [row]), together[place : place + 1], **TOLERANCE)


def test_a_meta_token_that_is_cls_becomes_what_cls_becomes_but_for_itself(model):
    """It stands at place 0 and sees all content, as [CLS] does; it sees itself beside it."""
    ids = rows_of(model.backbone)[2].ids
    words = model.backbone.model.get_input_embeddings().weight
    with torch.no_grad():
        model.meta.document[0] = words[ids[0]]
        states = model.states(batch_of(model, [TokenRow(ids)], 1), model.meta.rows("document", 1))
        # Without a mask, transformers from 5.25 reads a position that does not count on as a new sequence.
        twice = model.backbone.model.language_model(
            torch.tensor([[ids[0], *ids]]),
            attention_mask=torch.ones(1, len(ids) + 1),
            position_ids=torch.tensor([[0, *range(len(ids))]]),
        ).last_hidden_state
    alike = torch.cosine_similarity(states[0, -1], states[0, 0], dim=0)
    assert alike > 0.95
    assert torch.cosine_similarity(twice[0, 0], twice[0, 1], dim=0) > 0.999


# --- tables


def test_documents_have_their_own_table_alone(model):
    assert (model.meta_count("query", 4), model.meta_count("document", 6)) == (4, 6)
    assert torch.equal(model.meta.rows("document", 5), model.meta.document[:5])


def test_fresh_located_tables_are_cls(located):
    meta = MetaTokens(BUDGET, located.hidden_size, query_first=False)
    located.start_tables(meta)
    summary = located.model.get_input_embeddings().weight[located.tokenizer.cls_token_id]
    for table in (meta.query, meta.document):
        torch.testing.assert_close(table, summary.expand_as(table))


def test_other_fresh_tables_are_near_cls_and_differ(chained):
    backbone, meta = chained, MetaTokens(BUDGET, chained.hidden_size, query_first=False)
    backbone.start_tables(meta)
    summary = backbone.model.get_input_embeddings().weight[backbone.tokenizer.cls_token_id]
    for table in (meta.query, meta.document):
        torch.testing.assert_close(table[0], summary)
        assert (torch.cosine_similarity(table, summary[None]) > 0.8).all()
        assert len(table.detach().unique(dim=0)) == len(table)


# --- words


def test_a_query_and_a_document_by_eye(folder):
    embedder = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, device="cpu", max_tokens=4000)
    template, tokenizer = embedder._encoder.template, embedder.model.backbone.tokenizer
    from mmrag.models.inputs import Item

    document = template.tokenize(Item(("Net [SEP]",)), "document", [])
    assert tokenizer.convert_ids_to_tokens(document.ids) == [
        "[CLS]", "n", "##e", "##t", "[", "s", "##e", "##p", "]", "[SEP]",
    ]  # fmt: skip
    query = template.tokenize(Item(("cat",)), "query", [])
    assert list(query.ids) == tokenizer(QUERY_PREFIX + "cat").input_ids
    assert template.max_tokens == 64  # places that the encoder has
    assert len(template.tokenize(Item(("x " * 200,)), "document", []).ids) == 64


def test_pictures_are_refused_and_it_says_where_they_are_read(folder):
    embedder = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, device="cpu")
    assert embedder.modalities == {"text"}
    with pytest.raises(
        BadInputError, match=r"in torch reads text only, got a picture of 30 x 20.*mmrag.embedders.mini"
    ):
        embedder.encode_document([Content(image=Image.new("RGB", (30, 20)))])


# --- files


def test_eight_bits_float_and_saved_again_are_the_same_model(folder, located, tmp_path):
    """A folder as it ships: eight bits, tables in the same file, which is config enough."""
    shipped, trained = tmp_path / "shipped", tmp_path / "trained"
    backbone, model = located, model_of(located)
    write_config(shipped, backbone.model.shape, "int8")
    tables = {name: tensor.numpy() for name, tensor in checkpoint.tables_of(model).items()}
    tables["projection"] = tables.pop("projection.weight")
    save_file(pack_weights(backbone.model.weights() | tables), shipped / "model.safetensors")
    (shipped / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    assert load_file(shipped / "model.safetensors")["encoder.layer.0.output.dense.weight"].dtype == np.int8
    one = MLLMEmbedder.from_pretrained(shipped, device="cpu")
    assert (one.budget, one.dim, one.model.meta.query_first) == (BUDGET, 24, False)
    exact = RetrievalModel.forward(model, batch_of(model, rows_of(backbone), 6), "document", 6)
    near = one.model(batch_of(model, rows_of(backbone), 6), "document", 6)
    assert 0.999 < torch.cosine_similarity(exact, near, dim=-1).min() < 1
    one.save_pretrained(trained)
    again = MLLMEmbedder.from_pretrained(trained, device="cpu")
    assert json.loads((trained / "config.json").read_text())["weights"] == "float32"
    assert again.fingerprint == one.fingerprint
    for rows, others in zip(again.encode_document(TEXTS), one.encode_document(TEXTS), strict=True):
        np.testing.assert_allclose(rows, others, atol=1e-5)  # weights may lie at another alignment
    assert json.loads((trained / checkpoint.CONFIG_FILE).read_text())["query_first"] is False


@pytest.mark.parametrize("name", ["embeddings.word", "encoder.layer.1.output.dense.weight"])
def test_missing_or_misshapen_weights_are_refused(folder, tmp_path, name):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    for broken in ({k: v for k, v in weights.items() if k != name}, weights | {name: weights[name][:-1]}):
        save_file(broken, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=rf"got 1 that are missing or of another shape: {name}"):
            MiniBackbone.load_parts(str(tmp_path))
