"""Options of how a new index stores rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from typer import Option

_row_option = partial(Option, rich_help_panel="Size of a new index")


@dataclass(frozen=True)
class RowOptions:
    """How rows are stored."""

    row_type: Annotated[
        Literal["int8", "float16"] | None,
        _row_option("--row-type", help="How rows are stored; an index keeps what it was made with. (int8)"),
    ] = None
    rows: Annotated[
        int | None,
        _row_option("--rows", min=1, metavar="N", help="Rows of a page that are stored at most. (all)"),
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return them as arguments of `DocumentQA.open`."""
        return {"row_type": self.row_type, "rows": self.rows}
