"""Laws of the whole forward pass: prefixes, sides, padding, company, gradients, norms."""

import copy

import pytest
import torch

from mmrag.models.batch import TokenRow, collate
from mmrag.models.compression import Compression
from mmrag.models.meta_tokens import MetaTokens
from mmrag.models.model import RetrievalModel
from mmrag.types import Budget

from .families import MULTIMODAL

BUDGET = Budget(4, 6)
TOLERANCE = {"atol": 1e-5, "rtol": 0}  # float32; sums in another order
SIDES = [("query", BUDGET.query), ("document", BUDGET.document)]
CONTENT = [
    ("words alone", []),
    ("a much longer row of words and a page", [(90, 130)]),
    ("two pages", [(130, 90), (70, 70)]),
    ("x", []),
    ("a strip", [(20, 300)]),
]


def make(backbone, factor: int = 2, dim: int | None = None, meta: bool = True) -> RetrievalModel:
    torch.manual_seed(3)
    tables = MetaTokens(BUDGET, backbone.hidden_size) if meta else None
    return RetrievalModel(backbone, Compression(factor), tables, dim).eval()


def rows_of(model, inputs) -> list[TokenRow]:
    return [
        inputs.row(model.backbone, model.compression, text, sizes, seed=place)
        for place, (text, sizes) in enumerate(CONTENT)
    ]


def vectors(model, rows, side="document", count=None) -> torch.Tensor:
    count = count or (1 if model.meta is None else dict(SIDES)[side])
    batch = collate(rows, pad=model.backbone.tokenizer.pad_token_id, meta=model.meta_count(side, count))
    with torch.no_grad():
        return model(batch, side, count)


@pytest.mark.parametrize(("side", "most"), SIDES)
def test_a_prefix_of_r_rows_is_a_run_with_r_tokens(backbone, inputs, side, most) -> None:
    model = make(backbone)
    rows = rows_of(model, inputs)
    full = vectors(model, rows, side, most)
    for count in range(1, most + 1):
        torch.testing.assert_close(vectors(model, rows, side, count), full[:, :count], **TOLERANCE)


def test_rows_differ_and_see_the_content(backbone, inputs) -> None:
    """The laws here would hold of constants too."""
    made = vectors(make(backbone), rows_of(make(backbone), inputs))
    flat = made.flatten(0, 1)
    distances = torch.cdist(flat, flat) + 9 * torch.eye(len(flat))
    assert distances.min() > 1e-2


def test_a_query_without_document_tokens_is_a_query_with_them(backbone, inputs) -> None:
    """The paper appends both tables to both sides; ours leaves out what cannot be seen."""
    model = make(backbone)
    rows = rows_of(model, inputs)
    batch = collate(rows, pad=backbone.tokenizer.pad_token_id, meta=sum((BUDGET.query, BUDGET.document)))
    with torch.no_grad():
        states = model.states(batch, model.meta.rows("document", BUDGET.document))
    places = batch.meta[:, : BUDGET.query]
    long = torch.nn.functional.normalize(states[torch.arange(len(rows))[:, None], places], dim=-1)
    torch.testing.assert_close(vectors(model, rows, "query"), long, **TOLERANCE)


@pytest.mark.parametrize("meta", [True, False], ids=["multi-vector", "single-vector"])
def test_order_and_company_in_a_batch_do_not_matter(backbone, inputs, meta) -> None:
    model = make(backbone, meta=meta)
    rows = rows_of(model, inputs)
    together = vectors(model, rows)
    order = [3, 0, 4, 2, 1]
    torch.testing.assert_close(vectors(model, [rows[i] for i in order]), together[order], **TOLERANCE)
    for place, row in enumerate(rows):
        torch.testing.assert_close(vectors(model, [row]), together[place : place + 1], **TOLERANCE)


@pytest.mark.parametrize("dim", [None, 24])
@pytest.mark.parametrize("meta", [True, False], ids=["multi-vector", "single-vector"])
def test_every_row_has_norm_one(backbone, inputs, meta, dim) -> None:
    model = make(backbone, dim=dim, meta=meta)
    made = vectors(model, rows_of(model, inputs))
    assert made.shape == (len(CONTENT), BUDGET.document if meta else 1, dim or backbone.hidden_size)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made.norm(dim=-1), torch.ones(made.shape[:2]))


def test_the_single_vector_is_the_last_content_state_cut_and_normalised(backbone, inputs) -> None:
    model = make(backbone, factor=1, dim=24, meta=False)
    rows = rows_of(model, inputs)
    for place, row in enumerate(rows):
        batch = collate([row], pad=backbone.tokenizer.pad_token_id)
        with torch.no_grad():
            last = backbone.model(**inputs.stock(backbone, batch)).last_hidden_state[0, -1, :24]
        torch.testing.assert_close(vectors(model, rows)[place, 0], last / last.norm(), **TOLERANCE)


def test_meta_tokens_go_on_counting_positions_after_the_content(backbone, inputs) -> None:
    """Equal to stock where the tables hold the embeddings of real words."""
    model = make(backbone, factor=1)
    words = backbone.tokenizer("abcdefghij").input_ids
    table = backbone.embed_tokens(torch.tensor(words)).detach()
    model.meta.query.data, model.meta.document.data = table[:4].clone(), table[4:].clone()
    row = inputs.row(backbone, Compression(1), "a page", [(90, 130)])
    plain = collate([TokenRow((*row.ids, *words), row.images)], pad=0)
    with torch.no_grad():
        stock = backbone.model(**inputs.stock(backbone, plain)).last_hidden_state[0, -6:]
    expected = torch.nn.functional.normalize(stock, dim=-1)
    torch.testing.assert_close(vectors(model, [row])[0], expected, **TOLERANCE)


# --- training ----------------------------------------------------------------------------------------


def gradients(model, inputs) -> dict[str, torch.Tensor]:
    model.zero_grad()
    rows = rows_of(model, inputs)
    for side, count in SIDES:
        pad = model.backbone.tokenizer.pad_token_id
        out = model(collate(rows, pad=pad, meta=model.meta_count(side, count)), side, count)
        (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradients_reach_tables_and_projection_and_nothing_frozen(backbone, inputs) -> None:
    model = make(copy.deepcopy(backbone), dim=24)
    model.backbone.requires_grad_(False)
    found = gradients(model, inputs)
    assert set(found) == {"meta.query", "meta.document", "projection.weight"}
    assert all((grad.reshape(len(grad), -1).norm(dim=-1) > 0).all() for grad in found.values())


def test_gradients_go_through_compression_into_the_vision_encoder(backbone, inputs) -> None:
    model = make(copy.deepcopy(backbone))
    first = "vision_tower.embeddings.patch_embeddings" if backbone.model_type == "internvl" else "patch_embed"
    found = gradients(model, inputs)
    reached = [grad for name, grad in found.items() if first in name]
    assert reached
    assert all(grad.norm() > 0 for grad in reached)


@pytest.mark.parametrize("family", MULTIMODAL)
def test_gradient_checkpointing_gives_the_same_gradients(load_backbone, inputs, family) -> None:
    model = make(load_backbone(family)).train()
    expected = gradients(model, inputs)
    stock = model.backbone.model
    newer = getattr(stock, "activation_checkpointing_enable", None)  # its name from 5.23 on
    (newer or stock.gradient_checkpointing_enable)()
    found = gradients(model, inputs)
    assert found.keys() == expected.keys()
    for name, grad in found.items():
        torch.testing.assert_close(grad, expected[name], msg=name)


@pytest.mark.parametrize("family", MULTIMODAL)
def test_bfloat16_backbones_keep_float32_tables_and_stay_near(load_backbone, inputs, family) -> None:
    model = make(load_backbone(family, dtype=torch.bfloat16), dim=24)
    exact = make(load_backbone(family), dim=24)
    assert {p.dtype for p in model.meta.parameters()} == {torch.float32}
    near = (vectors(model, rows_of(model, inputs)) * vectors(exact, rows_of(exact, inputs))).sum(-1)
    assert near.min() > 0.98


def test_everything_moves_with_the_model(backbone) -> None:
    """No tensor of ours is left behind: on the meta device all parameters and buffers are there."""
    model = make(copy.deepcopy(backbone), dim=24).to("meta")
    assert {t.device.type for t in (*model.parameters(), *model.buffers())} == {"meta"}


# --- what is refused ---------------------------------------------------------------------------------


def test_a_batch_made_for_another_compression_is_refused(backbone, inputs) -> None:
    row = inputs.row(backbone, Compression(2), "a page", [(90, 130)])
    with pytest.raises(
        ValueError, match=r"placeholders and visual tokens must be as many.*another compression"
    ):
        vectors(make(backbone, factor=1), [row])


def test_a_text_with_the_image_token_is_refused(backbone) -> None:
    row = TokenRow(tuple(backbone.tokenizer(f"so {backbone.image_token} it").input_ids))
    with pytest.raises(ValueError, match=r"must be as many, got 1 and 0.*a text carries the image token"):
        vectors(make(backbone), [row])


def test_a_batch_without_room_is_refused(backbone, inputs) -> None:
    model = make(backbone)
    row = inputs.row(backbone, Compression(2))
    batch = collate([row], pad=0, meta=model.meta_count("query", 4))
    with pytest.raises(ValueError, match=r"room for 10 meta tokens, got 4\. Collate it with"):
        model(batch, "document", 6)
    with pytest.raises(ValueError, match="one vector per row, got rows=6"):
        model(collate([row], pad=0), "document", 6)
    with pytest.raises(ValueError, match="room for 4 meta tokens, got 0"):
        model.states(collate([row], pad=0), model.meta.rows("query", 4))


def test_empty_rows_and_unknown_sides_are_refused(backbone, inputs) -> None:
    row = inputs.row(backbone, Compression(2))
    for rows in ([], [row, TokenRow(())]):
        with pytest.raises(ValueError, match="needs rows and every row tokens"):
            collate(rows, pad=0)
    with pytest.raises(ValueError, match="must be 'query' or 'document', got 'page'"):
        make(backbone)(collate([row], pad=0), "page")


def test_a_single_vector_wider_than_the_states_is_refused(backbone) -> None:
    for dim in (0, 65):
        with pytest.raises(ValueError, match=f"dim must be 1 to 64 for this model, got {dim}"):
            make(backbone, dim=dim, meta=False)


def test_collate_puts_content_and_meta_tokens_where_it_says() -> None:
    rows = [TokenRow((5, 6, 7)), TokenRow((8,))]
    batch = collate(rows, pad=0, meta=2)
    assert batch.input_ids.tolist() == [[5, 6, 7, 0, 0], [8, 0, 0, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert (batch.content.tolist(), batch.meta.tolist()) == ([2, 0], [[3, 4], [1, 2]])
    assert collate(rows, pad=0).meta is None
