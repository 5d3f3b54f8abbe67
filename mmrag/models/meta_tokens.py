"""Meta tokens: learnable vectors appended to the input, whose last states are the nested vectors.

MetaEmbed (arXiv 2509.18095) has two tables, 16 for queries and 64 for documents. A document is
``[content; M_q; M_d]`` and its vectors are the states of M_d; a query is ``[content; M_q]`` and its vectors
are the states of M_q. (In the paper queries carry M_d too; it comes after M_q, attention is causal, so
nothing changes.) A token sees only those before it, so the first r vectors are the same whatever
the number of tokens: every prefix is exact, and trained to be useful by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmrag.types import Budget

INITIAL_STD = 0.02  # of a table that starts from nothing


class MetaTokens(nn.Module):
    """The two tables of meta tokens.

    Args:
        budget: rows of the query and of the document table.
        hidden_size: width of the language model's states.
        query_first: whether a document's meta tokens come after the query's. In the paper they do. False
            spares a model of short inputs the tokens of one table.

    Attributes:
        query: ``(budget.query, D)``.
        document: ``(budget.document, D)``.
    """

    def __init__(self, budget: Budget, hidden_size: int, *, query_first: bool = True) -> None:
        super().__init__()
        self.query_first = query_first
        self.query = nn.Parameter(torch.empty(budget.query, hidden_size))
        self.document = nn.Parameter(torch.empty(budget.document, hidden_size))
        for table in (self.query, self.document):
            nn.init.normal_(table, std=INITIAL_STD)

    @property
    def budget(self) -> Budget:
        """Return the rows of the two tables."""
        return Budget(self.query.shape[0], self.document.shape[0])

    def rows(self, side: str, count: int) -> Tensor:
        """Return the meta tokens to append for `count` vectors of a side; the last `count` give the vectors.

        Raises:
            ValueError: more vectors than the table has, or an unknown side.
        """
        check_side(side)
        table = self.query if side == "query" else self.document
        if not 1 <= count <= table.shape[0]:
            raise ValueError(
                f"the {side} table has {table.shape[0]} meta tokens, got a budget of {count}. "
                f"Ask for 1 to {table.shape[0]}."
            )
        if side == "query" or not self.query_first:
            return table[:count]
        return torch.cat([self.query, table[:count]])  # (R, D)

    def start_from(self, embeddings: Tensor) -> None:
        """Start from real token embeddings instead of noise: mean of the vocabulary plus one token each.

        The tokens are spread evenly over the vocabulary. Small batches train tables that start from noise
        badly (see papers on MetaEmbed's reproduction).

        Args:
            embeddings: ``(V, D)``, of the vocabulary.
        """
        total = sum(table.shape[0] for table in (self.query, self.document))
        ids = torch.linspace(0, embeddings.shape[0] - 1, total).long()  # (R,)
        with torch.no_grad():
            tokens = embeddings.detach()[ids].to(self.query)  # (R, D)
            start = embeddings.detach().float().mean(0).to(self.query) + tokens  # (R, D)
            self.query.copy_(start[: self.query.shape[0]])
            self.document.copy_(start[self.query.shape[0] :])


def check_side(side: str) -> None:
    """Refuse anything but ``"query"`` and ``"document"``.

    Raises:
        ValueError: it is neither.
    """
    if side not in ("query", "document"):
        raise ValueError(f"side must be 'query' or 'document', got {side!r}.")
