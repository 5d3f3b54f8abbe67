"""The table of layouts, and `make_pack`, which reads one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from mmrag.evaluation.datasets.rows import Source
from mmrag.evaluation.datasets.writer import PackWriter, Summary

Reader: TypeAlias = Callable[[Source, PackWriter], None]


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout that benchmarks are published in.

    Attributes:
        title: name of the benchmark.
        hub: its data sets on the Hugging Face hub, or where else it is.
        files: what the folder has to hold, as its publishers have laid it out.
        split: the part that is measured on.
        reader: ``module:function`` in this folder.
    """

    title: str
    hub: str
    files: tuple[str, ...]
    split: str
    reader: str

    def load_reader(self) -> Reader:
        """Import the function that reads it."""
        module, _, name = self.reader.partition(":")
        reader: Reader = getattr(import_module(f"mmrag.evaluation.datasets.{module}"), name)
        return reader


_PAGE_FILES = ("corpus/test-*.parquet", "queries/test-*.parquet", "qrels/test-*.parquet")

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "beir": Layout(
            "BEIR",
            "BeIR/scifact and its siblings, or the zip files of its authors",
            ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"),
            "test",
            "beir:read_beir",
        ),
        "vidore-v1": Layout(
            "ViDoRe v1",
            "vidore/docvqa_test_subsampled and its siblings, with or without _beir",
            ("data/test-*.parquet, or with _beir " + ", ".join(_PAGE_FILES),),
            "test",
            "vidore:read_vidore_v1",
        ),
        "vidore-v2": Layout(
            "ViDoRe v2",
            "vidore/esg_reports_v2, biomedical_lectures_v2, economics_reports_v2, "
            "esg_reports_human_labeled_v2",
            _PAGE_FILES,
            "test",
            "vidore:read_pages",
        ),
        "vidore-v3": Layout(
            "ViDoRe v3",
            "vidore/vidore_v3_hr, _finance_en, _industrial, _pharmaceuticals, _computer_science, _energy, "
            "_physics, _finance_fr",
            _PAGE_FILES,
            "test",
            "vidore:read_pages",
        ),
        "mmeb-visdoc": Layout(
            "MMEB-V2, visual documents",
            "one task of visdoc-tasks/visdoc-tasks.data.tar.gz of TIGER-Lab/MMEB-V2; or the task's own data "
            "set, like openbmb/VisRAG-Ret-Test-ChartQA",
            ("corpus/*.parquet", "queries/*.parquet", "qrels/*.parquet"),
            "test",
            "vidore:read_pages",
        ),
        "docvqa": Layout(
            "DocVQA",
            "lmms-lab/DocVQA, or the Robust Reading Competition's files",
            ("DocVQA/validation-*.parquet, or val_v1.0_withQT.json and documents/",),
            "validation",
            "docvqa:read_docvqa",
        ),
        "mp-docvqa": Layout(
            "MP-DocVQA",
            "lmms-lab/MP-DocVQA, or the Robust Reading Competition's files",
            ("data/val-*.parquet, or val.json and images/",),
            "val",
            "docvqa:read_mp_docvqa",
        ),
        "infographicvqa": Layout(
            "InfographicVQA",
            "lmms-lab/DocVQA, or the Robust Reading Competition's files",
            (
                "InfographicVQA/validation-*.parquet, or infographicsVQA_val_v1.0_withQT.json and "
                "infographicsvqa_images/",
            ),
            "validation",
            "docvqa:read_infographicvqa",
        ),
        "mmlongbench": Layout(
            "MMLongBench-Doc",
            "yubo2333/MMLongBench-Doc, or its repository's data/",
            ("data/samples.json and data/documents/*.pdf, or data/*.parquet and documents/*.pdf",),
            "train",
            "documents:read_mmlongbench",
        ),
        "t2-ragbench": Layout(
            "T2-RAGBench",
            "G4KMU/t2-ragbench",
            (
                "data/FinQA/test/metadata.jsonl and its PDFs",
                "data/TAT-DQA/...",
                "data/ConvFinQA/turn_0.jsonl",
            ),
            "test",
            "documents:read_t2_ragbench",
        ),
        "citevqa": Layout(
            "CiteVQA",
            "opendatalab/CiteVQA, and the PDFs by its data/download/download_pdfs.py",
            ("data/validation/CiteVQA.json", "data/pdf/*.pdf"),
            "validation",
            "documents:read_citevqa",
        ),
    }
)
"""By name."""


def make_pack(layout: str, source: str | Path, target: str | Path, *, split: str = "") -> Summary:
    """Make a pack of a benchmark's local copy.

    Args:
        layout: of `LAYOUTS`.
        source: the folder of the copy.
        target: the pack's folder, which is not there yet; it appears when everything is in it.
        split: of the benchmark; ``""`` for the one that is measured on.

    Raises:
        ValueError: an unknown layout, or a row that the layout does not allow.
        FileNotFoundError: a file of the copy is missing; the error says what to fetch.
        FileExistsError: `target` is there.
        MissingExtraError: Parquet files, and pyarrow is not installed.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    form = LAYOUTS[layout]
    reader = form.load_reader()
    copy = Source(Path(source), form.title, form.hub, form.files, split or form.split)
    with PackWriter(Path(target), layout) as writer:
        reader(copy, writer)
    return writer.summary
