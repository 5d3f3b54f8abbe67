"""``mmrag read``: a file as Markdown, JSON or CSV, with its structure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from mmrag.cli.command import EXIT_OK, EXIT_SKIPPED, UsageError
from mmrag.cli.common import ReaderOptions, check_inputs
from mmrag.cli.texts import say, say_json, skipped_lines
from mmrag.cli.visible import complain

if TYPE_CHECKING:
    from mmrag.documents.export import ExportedTable
    from mmrag.documents.reading import ParsedDocument

_output_option = partial(Option, rich_help_panel="Output")


@dataclass(frozen=True)
class FormatOptions:
    """What is written."""

    markdown: Annotated[bool, _output_option("--markdown", help="Print Markdown, which is the default.")] = (
        False
    )
    json: Annotated[
        bool, _output_option("--json", help="Print JSON: pages, blocks, tables with cells, boxes.")
    ] = False
    tables: Annotated[
        Path | None,
        _output_option(
            "--tables",
            metavar="OUT.csv",
            help="Write the tables as CSV; of several, OUT-1.csv, OUT-2.csv and so on.",
        ),
    ] = None
    running_heads: Annotated[
        bool,
        _output_option("--running-heads", help="Keep running heads and feet and watermarks in Markdown."),
    ] = False
    verbose: Annotated[bool, _output_option("--verbose", "-v", help="Log on standard error.")] = False

    def check(self) -> None:
        """Check that one format is asked for.

        Raises:
            UsageError: several.
        """
        if sum((self.markdown, self.json, self.tables is not None)) > 1:
            raise UsageError("--markdown, --json and --tables exclude each other.")
        if self.running_heads and (self.json or self.tables is not None):
            raise UsageError("--running-heads goes with --markdown: JSON has them, and tables have none.")


def read(
    file: Annotated[
        str, Argument(metavar="FILE", help="PDF, picture, XPS, EPUB or SVG.", show_default=False)
    ],
    output: FormatOptions,
    reader: ReaderOptions,
    pages: Annotated[
        str | None, Option("--pages", metavar="3-5,8", help="Pages to read, counted from 1. (all)")
    ] = None,
) -> int:
    """Read a file: headings, paragraphs, lists and tables, in reading order."""
    from mmrag.documents.reading import read as read_document

    output.check()
    check_inputs([file])
    document = read_document(file, pages=pages, settings=reader.reader_settings(), password=reader.password)
    _write(document, output)
    for line in (*_note_lines(document), *skipped_lines(document.skipped)):
        complain(line)
    return EXIT_SKIPPED if document.skipped else EXIT_OK


def _write(document: ParsedDocument, output: FormatOptions) -> None:
    if output.json:
        say_json(document.data())
    elif output.tables is not None:
        _write_tables(document.tables(), output.tables)
    else:
        say(document.markdown(running_heads=output.running_heads).rstrip("\n"))


def _write_tables(tables: list[ExportedTable], target: Path) -> None:
    """Write each table to a file of its own, and list the files."""
    for number, table in enumerate(tables, start=1):
        path = target if len(tables) == 1 else target.with_stem(f"{target.stem}-{number}")
        path.write_text(table.to_csv(), encoding="utf-8", newline="")
        pages = "-".join(str(page + 1) for page in (table.pages[0], *table.pages[1:][-1:]))
        caption = f": {table.caption}" if table.caption else ""
        say(f"{path}: page {pages}, {len(table.rows())} rows{caption}")
    if not tables:
        say("no table was read")


def _note_lines(document: ParsedDocument) -> list[str]:
    name = document.source.name
    return [
        f"{name}, page {number + 1}: {note}" for number, notes in document.notes.items() for note in notes
    ]
