"""Laws of the tables: what is appended on which side, how a table starts."""

import pytest
import torch

from mmrag.models.meta_tokens import INITIAL_STD, MetaTokens
from mmrag.types import Budget


@pytest.fixture
def tables() -> MetaTokens:
    torch.manual_seed(0)
    return MetaTokens(Budget(3, 5), 8)


def test_a_query_gets_its_own_table_and_a_document_both(tables: MetaTokens) -> None:
    assert torch.equal(tables.rows("query", 3), tables.query)
    assert torch.equal(tables.rows("document", 5), torch.cat([tables.query, tables.document]))


def test_fewer_rows_are_a_prefix(tables: MetaTokens) -> None:
    for side in ("query", "document"):
        full = tables.rows(side, 3)
        assert torch.equal(tables.rows(side, 2), full[:-1])


def test_the_budget_is_the_size_of_the_tables(tables: MetaTokens) -> None:
    assert tables.budget == Budget(3, 5)


@pytest.mark.parametrize(("side", "count"), [("query", 4), ("query", 0), ("document", 6), ("document", -1)])
def test_rows_beyond_the_table_are_refused(tables: MetaTokens, side: str, count: int) -> None:
    with pytest.raises(ValueError, match=rf"the {side} table has . meta tokens, got a budget of {count}"):
        tables.rows(side, count)


def test_an_unknown_side_is_refused(tables: MetaTokens) -> None:
    with pytest.raises(ValueError, match="must be 'query' or 'document', got 'candidate'"):
        tables.rows("candidate", 1)


def test_a_new_table_is_noise_of_the_stated_width() -> None:
    torch.manual_seed(0)
    tables = MetaTokens(Budget(16, 64), 256)
    for table in (tables.query, tables.document):
        assert table.std().item() == pytest.approx(INITIAL_STD, rel=0.05)
        assert abs(table.mean().item()) < 0.002


def test_start_from_is_the_mean_of_the_vocabulary_plus_a_token_each(tables: MetaTokens) -> None:
    vocabulary = torch.randn(100, 8, generator=torch.Generator().manual_seed(1))
    tables.start_from(vocabulary)  # of 8 rows spread evenly over 100
    mean = vocabulary.mean(0)
    torch.testing.assert_close(tables.query[1], mean + vocabulary[14])
    torch.testing.assert_close(tables.document[4], mean + vocabulary[99])
    assert tables.query.requires_grad
    assert tables.query.is_leaf


def test_start_from_picks_different_tokens(tables: MetaTokens) -> None:
    tables.start_from(torch.randn(100, 8, dtype=torch.bfloat16))
    rows = tables.rows("document", 5)
    assert rows.dtype == torch.float32
    assert len(rows.unique(dim=0)) == 8
