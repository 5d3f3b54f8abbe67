"""The command line ``mmrag``: the table of its commands, and how a run ends.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with some files or pages skipped, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from mmrag.cli.command import EXIT_FAILED, EXIT_OK, MARKUP, SETTINGS, Entry, LazyGroup, error_line
from mmrag.cli.process_title import hide_secrets
from mmrag.cli.visible import complain

ASK, BUILD, MODELS = "Search and ask", "Build an index", "Measure, serve and train"

COMMANDS = {
    "demo": Entry("mmrag.cli.demo:demo", "Index the sample documents and ask six questions.", ASK),
    "search": Entry("mmrag.cli.search:search", "Rank pages for a question.", ASK),
    "ask": Entry("mmrag.cli.ask:ask", "Answer a question with its evidence.", ASK),
    "ui": Entry(
        "mmrag.cli.api:ui",
        "Open a page to ask, and to see the documents at the passage.",
        ASK,
        "Needs the extra 'ui'. The page works without the network. Ctrl-C stops it.",
    ),
    "api": Entry(
        "mmrag.cli.api:api",
        "Serve search and answers over HTTP.",
        ASK,
        "Needs the extra 'ui'. docs/api.md describes the calls, and so does /api/openapi.json.",
    ),
    "mcp": Entry(
        "mmrag.cli.mcp:mcp",
        "Serve search and answers as tools for agents (MCP).",
        ASK,
        "Needs the extra 'mcp'. Without --http it speaks on standard input and output.",
    ),
    "read": Entry("mmrag.cli.read:read", "Print a file as Markdown or JSON, or its tables as CSV.", ASK),
    "index": Entry("mmrag.cli.index:index", "Add files, folders or globs to an index.", BUILD),
    "status": Entry("mmrag.cli.manage:status", "List the files in an index.", BUILD),
    "check": Entry("mmrag.cli.check:check", "Find what is damaged in an index, and repair it.", BUILD),
    "compact": Entry(
        "mmrag.cli.compact:compact",
        "Write an index anew, smaller.",
        BUILD,
        "Nothing is embedded or read again. What --rows leaves out is gone. Until it is done the disk holds "
        "the index twice; searches go on meanwhile.",
    ),
    "backup": Entry(
        "mmrag.cli.backup:backup",
        "Copy an index while it is in use, checked.",
        BUILD,
        "The copy is an index itself, without pictures and without Chroma, which are made again. It is whole "
        "or not there; nothing is overwritten.",
    ),
    "restore": Entry("mmrag.cli.backup:restore", "Make an index of a backup, checked.", BUILD),
    "remove": Entry("mmrag.cli.manage:remove", "Remove a file or a record from an index.", BUILD),
    "reembed": Entry(
        "mmrag.cli.reembed:reembed",
        "Copy an index to another embedder, without reading files again.",
        BUILD,
        "OLD is not changed. If a run is interrupted, the same command resumes it; NEW is an index once it "
        "is complete. Pages whose file is gone are embedded from their text alone, and listed.",
    ),
    "copy": Entry(
        "mmrag.cli.copy:copy",
        "Copy an index into another store: a folder, PostgreSQL, Qdrant.",
        BUILD,
        "Nothing is read or embedded again, and OLD is not changed. If a run is interrupted, the same "
        "command resumes it. In the end every record is read from both and compared.",
    ),
    "evaluate": Entry("mmrag.cli.evaluate:evaluate", "Measure retrieval on a pack of questions.", MODELS),
    "pack": Entry(
        "mmrag.cli.pack:pack",
        "Make a pack of a published benchmark.",
        MODELS,
        "Nothing is fetched: where a file is missing, the error says what to fetch. docs/evaluation.md.",
    ),
    "questions": Entry(
        "mmrag.cli.questions:questions",
        "Make questions about your documents, to measure on.",
        MODELS,
        "They are marked as made. Look at the sample that is printed: they compare settings, and say little "
        "of how questions of people fare. If a run is interrupted, the same command resumes it.",
    ),
    "serve": Entry(
        "mmrag.cli.serve:serve",
        "Start a vLLM server for a model, with the flags it needs.",
        MODELS,
        "Flags after -- go to vLLM unchanged. Ctrl-C stops the server (exit code 130).",
    ),
    "plan": Entry(
        "mmrag.cli.plan:plan",
        "Say what an index of many pages costs, and what runs out first.",
        MODELS,
        "Arithmetic over constants that benchmarks measured or that are assumed: each is listed with its "
        "source, and --set puts your own in its place.",
    ),
    "mine": Entry(
        "mmrag.cli.mine:mine",
        "Mine hard negatives for training, without false ones.",
        MODELS,
        "A number may be 'off'. Defaults marked * follow the reranker: 0.1, 0.9 and 0.5 where it gives "
        "probabilities; 0.4, 2.2 and 0 in log-odds (local); only the margin of 0.4 for likelihood. "
        "If a run is interrupted, the same command resumes it.",
    ),
    "train": Entry("mmrag.cli.train:app", "Make training pairs; train a model in stages.", MODELS),
}


class _Commands(LazyGroup):
    table = COMMANDS


app = typer.Typer(
    cls=_Commands,
    help="Answers from documents, with the pages and boxes that prove them.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some files or pages skipped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    context_settings=SETTINGS,
)


def _print_version(is_set: bool) -> None:
    if is_set:
        from mmrag import __version__

        typer.echo(f"mmrag {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the options of ``mmrag`` itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    hide_secrets()
    _prepare_streams()
    try:
        app(None if arguments is None else list(arguments), prog_name="mmrag")
        code = EXIT_OK
    except SystemExit as end:
        pipe_closed = isinstance(end.__context__, BrokenPipeError)  # Typer and rich end with 1 there
        code = EXIT_OK if pipe_closed else _status(end.code)
    except BrokenPipeError:
        code = EXIT_OK
    except OSError as error:  # help that does not fit on the disk
        complain(f"mmrag: {error_line(error)}")
        code = EXIT_FAILED
    return _flush(code)


def _status(code: object) -> int:
    if code is None:
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_FAILED


def _prepare_streams() -> None:
    """Make output possible where a stream is closed or its encoding lacks a character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell's >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")  # the locale may be ASCII, a file's name no UTF-8


def _flush(code: int) -> int:
    """Flush standard output and return the exit code.

    A closed pipe is no error, now and when the interpreter ends; an output on a full disk is a failure.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            if code == EXIT_OK:
                complain(f"mmrag: {error_line(error)}")
            return EXIT_FAILED
    return code


def parse(arguments: Sequence[str]) -> Any:  # noqa: ANN401  click's context, whose class Typer does not export
    """Parse a command line and run nothing.

    Args:
        arguments: without ``mmrag`` itself, the command's name first.

    Returns:
        The context of the command: its ``info_name``, and its options in ``params``.
    """
    group, rest = typer.main.get_command(app), list(arguments)
    context = typer.Context(group, info_name="mmrag")
    while isinstance(group, LazyGroup):
        name, group, rest = group.resolve_command(context, rest)
        if isinstance(group, LazyGroup):
            context = typer.Context(group, info_name=name, parent=context)
    return group.make_context(name, rest, parent=context)
