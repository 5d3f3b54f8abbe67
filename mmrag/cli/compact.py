"""``mmrag compact``: an index written anew as small as it can be."""

from __future__ import annotations

from dataclasses import asdict

from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import EmbedderOptions, IndexOptions, OutputOptions
from mmrag.cli.rows import RowOptions


def compact(output: OutputOptions, index: IndexOptions, rows: RowOptions, embedder: EmbedderOptions) -> int:
    """Write an index anew in its place."""
    from mmrag.index.compact import compact as compact_index

    directory = index.directory("compact")
    index.check_index()
    maker = None
    if rows.rows is not None:
        from mmrag.models.load import default_embedder

        maker = embedder.load_embedder() or default_embedder()
    report = compact_index(directory, **rows.settings(), embedder=maker)
    megabytes = [count / 1e6 for count in (report.bytes_before, report.bytes_after)]
    kilobytes = report.bytes_after / max(1, report.records) / 1e3
    output.write(
        {**asdict(report), "path": str(report.path)},
        f"{report.path}: {report.records} pages and records in {report.row_type}, "
        f"{'all rows' if report.rows is None else f'at most {report.rows} rows'}, "
        f"{megabytes[0]:.1f} MB before, {megabytes[1]:.1f} MB now ({kilobytes:.1f} kB each)",
    )
    return EXIT_OK
