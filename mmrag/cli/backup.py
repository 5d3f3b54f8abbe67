"""``mmrag backup`` and ``mmrag restore``: a checked copy of an index, and an index made of one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import OutputOptions
from mmrag.cli.locations import directory_of

if TYPE_CHECKING:
    from mmrag.index.backup import BackupReport

_TARGET_HELP = "Where to: absent, or an empty directory."


def backup(
    index: Annotated[str, Argument(metavar="INDEX", help="Index directory; it may be in use.")],
    target: Annotated[Path, Argument(metavar="TARGET", help=_TARGET_HELP)],
    output: OutputOptions,
) -> int:
    """Copy an index while it is in use, and check the copy."""
    from mmrag.index.backup import backup as backup_index

    return _write(backup_index(directory_of(index, "backup"), target), output)


def restore(
    source: Annotated[Path, Argument(metavar="BACKUP", help="Directory that mmrag backup made.")],
    target: Annotated[str, Argument(metavar="INDEX", help=_TARGET_HELP)],
    output: OutputOptions,
) -> int:
    """Make an index of a backup, and check it."""
    from mmrag.index.backup import restore as restore_index

    return _write(restore_index(source, directory_of(target, "restore")), output)


def _write(report: BackupReport, output: OutputOptions) -> int:
    output.write(
        {**asdict(report), "source": str(report.source), "target": str(report.target)},
        f"{report.records} pages and records, {report.files} replies and traces, "
        f"{report.bytes / 1e6:.1f} MB from {report.source} in {report.target}, {report.seconds:.1f} s\n"
        "checked: every record is what was written",
    )
    return EXIT_OK
