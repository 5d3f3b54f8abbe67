"""The image part of MMEB-V2: 36 tasks, each to find the right one of many candidates for a picture or a text.

Layout, from its authors' VLM2Vec and from readers of it, certain: ``ziyjiang/MMEB_Test_Instruct`` has a
folder a task with Parquet files of ``qry_inst``, ``qry_text``, ``qry_img_path``, ``tgt_inst``, ``tgt_text``
and ``tgt_img_path``, the last two lists of candidates, of which the first is right; some tasks lack a
column. Pictures are in ``image-tasks/mmeb_v1.tar.gz`` of ``TIGER-Lab/MMEB-V2``, paths below
``image-tasks/MMEB``.

The figure is Precision@1, here without luck: a candidate that scores as high as the right one and is
another makes it wrong. Instructions are given as instructions, without the mark ``<|image_1|>``. Documents
of MMEB-V2 are packs: ``mmrag pack mmeb-visdoc``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mmrag.embedders.base import Content, Embedder
from mmrag.evaluation.datasets.rows import Row, Source
from mmrag.images import load_image
from mmrag.progress import progress_bar
from mmrag.scoring import maxsim_ragged, take_budget
from mmrag.types import Budget, Matrix, Query

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classification": (
            "ImageNet-1K", "N24News", "HatefulMemes", "VOC2007", "SUN397", "Place365", "ImageNet-A",
            "ImageNet-R", "ObjectNet", "Country211",
        ),
        "question answering": (
            "OK-VQA", "A-OKVQA", "DocVQA", "InfographicsVQA", "ChartQA", "Visual7W", "ScienceQA", "VizWiz",
            "GQA", "TextVQA",
        ),
        "retrieval": (
            "VisDial", "CIRR", "VisualNews_t2i", "VisualNews_i2t", "MSCOCO_t2i", "MSCOCO_i2t", "NIGHTS",
            "WebQA", "FashionIQ", "Wiki-SS-NQ", "OVEN", "EDIS",
        ),
        "visual grounding": ("MSCOCO", "RefCOCO", "RefCOCO-Matching", "Visual7W-Pointing"),
    }
)  # fmt: skip
"""The tasks by kind, as in the benchmark's tables."""

_MARK = "<|image_1|>"
_COLUMNS = ("qry_inst", "qry_text", "qry_img_path", "tgt_inst", "tgt_text", "tgt_img_path")
_HUB = "ziyjiang/MMEB_Test_Instruct, and the pictures from image-tasks/mmeb_v1.tar.gz of TIGER-Lab/MMEB-V2"


@dataclass(frozen=True, slots=True)
class MMEBReport:
    """Precision@1 of each task.

    Attributes:
        precision: by task, 0..1.
        counts: queries by task.
    """

    precision: Mapping[str, float]
    counts: Mapping[str, int]

    def means(self) -> dict[str, float]:
        """Average over the tasks that were run, of each kind and of all, each task the same weight."""
        means = {
            group: float(np.mean([self.precision[task] for task in tasks if task in self.precision]))
            for group, tasks in GROUPS.items()
            if any(task in self.precision for task in tasks)
        }
        return {**means, "all": float(np.mean(list(self.precision.values())))}

    def __str__(self) -> str:
        lines = [f"{task:<22}{self.counts[task]:>6}  {value:.3f}" for task, value in self.precision.items()]
        return "\n".join(
            [*lines, *(f"{group:<22}{'':>6}  {mean:.3f}" for group, mean in self.means().items())]
        )


def evaluate_mmeb(
    embedder: Embedder,
    folder: str | Path,
    images: str | Path,
    *,
    tasks: Sequence[str] = (),
    budget: Budget | None = None,
    batch_size: int = 32,
    show_progress: bool = False,
) -> MMEBReport:
    """Measure an embedder on image tasks of MMEB-V2, from local copies.

    Args:
        embedder: of text and pictures.
        folder: a folder of Parquet files for each task.
        images: the folder that the paths of pictures start from.
        tasks: their names; none: all of `GROUPS` that are in `folder`.
        budget: rows used of a query and of a candidate; None: all.
        batch_size: of the embedder.
        show_progress: a bar of queries on stderr.

    Raises:
        FileNotFoundError: a task or a picture is missing; the error says what to fetch.
        ValueError: a query without candidates.
        MissingExtraError: pyarrow is not installed.
    """
    source = Source(Path(folder), "MMEB-V2", _HUB, ("<task>/test-*.parquet",), "test")
    names = list(tasks) or [task for group in GROUPS.values() for task in group if source.has(task)]
    if not names:
        raise source.missing_error("ImageNet-1K")
    precision, counts = {}, {}
    for task in names:
        runner = _Task(embedder, Path(images), budget or embedder.budget, batch_size)
        hits = [
            runner.hits(row)
            for row in progress_bar(source.rows(task, _COLUMNS), desc=task, is_shown=show_progress)
        ]
        precision[task], counts[task] = float(np.mean(hits)), len(hits)
    return MMEBReport(precision, counts)


class _Task:
    """One task: candidates are embedded once, however many queries have them."""

    def __init__(self, embedder: Embedder, images: Path, budget: Budget, batch_size: int) -> None:
        self._embedder = embedder
        self._images = images
        self._budget = budget
        self._batch_size = batch_size
        self._matrices: dict[tuple[str, str], Matrix] = {}

    def hits(self, row: Row) -> bool:
        """Check whether the first candidate scores higher than every other one."""
        keys = _candidates(row)
        new_keys = [key for key in dict.fromkeys(keys) if key not in self._matrices]
        for start in range(0, len(new_keys), self._batch_size):
            part = new_keys[start : start + self._batch_size]
            contents = [
                Content(text=text, image=self._image(path), instruction=_instruction(row, "tgt_inst"))
                for text, path in part
            ]
            for key, matrix in zip(
                part, self._embedder.encode_document(contents, batch_size=self._batch_size), strict=True
            ):
                self._matrices[key] = np.array(take_budget(matrix, self._budget.document))
        query = Query(
            text=str(row.get("qry_text") or "").replace(_MARK, "").strip() or None,
            image=self._image(str(row.get("qry_img_path") or "")),
            instruction=_instruction(row, "qry_inst"),
        )
        (rows,) = self._embedder.encode_query([query], batch_size=self._batch_size)
        wrong_keys = [key for key in dict.fromkeys(keys) if key != keys[0]]
        documents = [self._matrices[key] for key in (keys[0], *wrong_keys)]
        scores = maxsim_ragged(np.array(take_budget(rows, self._budget.query)), documents)
        return bool(np.all(scores[0] > scores[1:]))

    def _image(self, path: str) -> Any:  # noqa: ANN401  (a PIL image or None)
        if not path:
            return None
        if not (self._images / path).is_file():
            raise FileNotFoundError(
                f"MMEB-V2 must have the picture {self._images / path}, got none. Fetch "
                "image-tasks/mmeb_v1.tar.gz of TIGER-Lab/MMEB-V2, and name the folder its paths begin in."
            )
        return load_image(self._images / path).convert("RGB")


def _candidates(row: Row) -> list[tuple[str, str]]:
    """Return text and picture's path of every candidate, the right one first."""
    texts, paths = (list(row.get(name) or ()) for name in ("tgt_text", "tgt_img_path"))
    count = max(len(texts), len(paths))
    if not count:
        raise ValueError(f"a query of MMEB-V2 must have candidates, got none for {row.get('qry_text')!r}.")
    texts, paths = (column or [""] * count for column in (texts, paths))
    return [(text.replace(_MARK, "").strip(), path) for text, path in zip(texts, paths, strict=True)]


def _instruction(row: Row, name: str) -> str | None:
    """Return an instruction; None, which leaves it to the embedder, where the task has none."""
    text = str(row.get(name) or "").replace(_MARK, "").strip()
    return text or None
