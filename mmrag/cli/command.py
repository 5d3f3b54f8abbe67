"""Commands as Typer runs them: files imported late, option groups as parameters, errors as exit codes.

A command is a function that takes dataclasses of options and returns an exit code. Its file is imported when
it runs or its own help is shown; the help of a group needs only the group's table of `Entry`.

A terminal gets Typer's panels; a pipe gets the same groups as plain text, and no import of rich.
"""

from __future__ import annotations

import errno
import inspect
import logging
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from importlib import import_module
from typing import Any, ClassVar, Literal, cast, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from mmrag.cli.visible import VisibleFormatter, complain, visible_json
from mmrag.errors import MMRagError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_SKIPPED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

MARKUP: Literal["rich"] | None = (
    "rich" if all(stream and stream.isatty() for stream in (sys.stdout, sys.stderr)) else None
)
"""Typer's mode of printing help and usage errors: panels on a terminal, plain text elsewhere."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""Reasons why nothing can be written where a path is."""

SETTINGS = {"help_option_names": ["-h", "--help"]}


class UsageError(Exception):
    """Options that are valid one by one and cannot be combined."""


def check_question(question: str) -> None:
    """Refuse a question without words before anything is opened.

    Raises:
        UsageError: it has none.
    """
    if not question.strip():
        raise UsageError(f"QUESTION must have words, got {question!r}.")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row in the table of a `LazyGroup`.

    Attributes:
        target: ``"module:name"`` of the command's function, or of a `typer.Typer` with further commands.
        help: one line for the group's help, and the first of the command's own.
        panel: heading of the group's help under which the command is listed.
        epilog: last paragraph of the command's own help.
    """

    target: str
    help: str
    panel: str = "Commands"
    epilog: str | None = None


class LazyGroup(TyperGroup):
    """A group whose commands are imported when one of them runs.

    Subclasses set `table`; its order is that of the help.
    """

    table: ClassVar[Mapping[str, Entry]] = {}

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401  Typer's
        super().__init__(**attributes)
        for name, entry in self.table.items():
            stub = TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)
            self.add_command(stub, name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  Typer's
        """Return name, command and remaining arguments; the command is imported here."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(self.table[name or ""], f"{ctx.command_path} {name}"), rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  Typer's
        """Write the commands panel by panel, as plain text."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.table.items():
            panels.setdefault(entry.panel, []).append((name, entry.help))
        _write_panels(formatter, panels)


class Command(TyperCommand):
    """A command with the nearest option named where one is misspelt, and panels in plain help too."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  Typer's
        """Parse the arguments into ``ctx.params``."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # click's NoSuchOption, which Typer imports from two places by version
            name, nearest = getattr(error, "option_name", None), getattr(error, "possibilities", None)
            if not (name and nearest):
                raise
            ctx.fail(f"No such option {name}. Did you mean {nearest[0]}?")

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  Typer's
        """Write arguments and options panel by panel, as plain text."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None) or usual
                panels.setdefault(panel, []).append(record)
        _write_panels(formatter, panels)


def _write_panels(formatter: Any, panels: Mapping[str, list[tuple[str, str]]]) -> None:  # noqa: ANN401
    for title, rows in panels.items():
        with formatter.section(title):
            formatter.write_dl(rows)


def load(entry: Entry, path: str) -> Any:  # noqa: ANN401  a click command, whose class Typer does not export
    """Import what an entry names and return it as a command.

    Args:
        entry: of the group's table.
        path: words that lead to the command, ``"mmrag search"``, for error messages.
    """
    module, _, name = entry.target.partition(":")
    target = getattr(import_module(module), name)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    app = typer.Typer(add_completion=False, rich_markup_mode=MARKUP, context_settings=SETTINGS)
    app.command(cls=Command, help=entry.help, epilog=entry.epilog)(flatten(target, path))
    command = typer.main.get_command(app)
    command.name = path.rpartition(" ")[2]
    return command


def flatten(function: Callable[..., int], path: str) -> Callable[..., None]:
    """Return a function that Typer can read: each field of an option group is a parameter of its own.

    The returned function builds the groups again, runs `function` and ends with its exit code.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type[Any]] = {
        n: cast("type[Any]", hint) for n, hint in hints.items() if is_dataclass(hint)
    }
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        name = parameter.name
        if name in groups:
            parameters += _group_parameters(groups[name])
        else:
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(kind=keyword, annotation=hints[name]))

    @wraps(function)
    def run(**values: Any) -> None:  # noqa: ANN401  as parsed
        as_json, verbose = values.get("json", False), values.get("verbose", False)
        arguments = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        code = exit_code(lambda: function(**arguments, **values), path, as_json=as_json, verbose=verbose)
        raise typer.Exit(code)

    del run.__wrapped__  # or `inspect` reads the signature of `function`
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _group_parameters(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    keyword, empty = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    defaults = {f.name: empty if f.default is MISSING else f.default for f in fields(group)}
    return [
        inspect.Parameter(name, keyword, default=default, annotation=hints[name])
        for name, default in defaults.items()
    ]


def exit_code(run: Callable[[], int], path: str, *, as_json: bool = False, verbose: bool = False) -> int:
    """Run a command and return its exit code; an expected error is printed and becomes one.

    Args:
        run: the command with its arguments.
        path: how messages name the command, ``"mmrag search"``.
        as_json: print an error as JSON on standard output too.
        verbose: log on standard error, with the traceback of an error.
    """
    level = logging.INFO if verbose else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    try:
        return run()
    except BrokenPipeError:
        raise  # nobody reads on; `mmrag.cli.app.main` ends quietly
    except UsageError as error:
        complain(f"{path}: {error}")
        return EXIT_USAGE
    except (MMRagError, ValueError, OSError, sqlite3.Error) as error:
        if verbose:
            logging.getLogger(__name__).exception("failed")
        words = error_line(error)
        if as_json:
            with suppress(OSError):  # it may be standard output that is on a full disk
                sys.stdout.write(visible_json({"error": type(error).__name__, "message": words}) + "\n")
        complain(f"{path}: {words}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        complain("\nInterrupted. What was committed is kept; the same command resumes from there.")
        return EXIT_INTERRUPTED


def error_line(error: Exception) -> str:
    """Return what a command says of an error; a disk that takes no more says what to do."""
    if isinstance(error, sqlite3.Error):
        return f"the index cannot be read or written ({error}). {_REMEDY}"
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        where = "" if error.filename is None else f" {error.filename}"
        return f"nothing can be written{where and f' to{where}'} ({error.strerror}). {_REMEDY}"
    return str(error)


_REMEDY = "Free some space, or use another disk; what was committed is kept."
