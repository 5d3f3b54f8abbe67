"""What storing rows small costs in quality: one index in float16, in int8, and with its first rows alone.

    python benchmarks/row_quality.py PACK --index my-index --rows 16 8 1

The index is of the pack's documents, with all rows in float16 (``mmrag index PACK/documents --row-type
float16``). Each version is a copy of it written anew (`mmrag.index.compact`), so that nothing but the rows
differs. nDCG@5 of the whole pack: alone (rows and no words) and fused, without reranking; with the difference
from float16 and its 95 % interval.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from arguments import index_of, pack_arguments, parse_pack, write_json

from mmrag import DocumentQA
from mmrag.embedders.base import Embedder
from mmrag.evaluation import load_pack
from mmrag.evaluation.metrics import bootstrap_interval, ndcg
from mmrag.evaluation.pack import Pack, PageKey
from mmrag.index.compact import compact
from mmrag.index.directory import CHROMA_PREFIX, index_bytes
from mmrag.models.load import default_embedder
from mmrag.search_request import CHANNELS

CHANNEL_SETS = {"alone": ("vectors",), "fused": CHANNELS}
DEEPEST = 10


class OnceEncoded:
    """An embedder that encodes each question once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._matrices: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def encode_query(self, queries: Sequence[Any], **options: Any) -> list[Any]:
        """Encode queries, or return what they were encoded to before."""
        for query in queries:
            if query not in self._matrices:
                self._matrices[query] = self._embedder.encode_query([query], **options)[0]
        return [self._matrices[query] for query in queries]


def measure(pack: Pack, path: Path, embedder: Any) -> dict[str, np.ndarray]:
    """Return nDCG@5 of each answerable question, by set of channels."""
    scores: dict[str, list[float]] = {name: [] for name in CHANNEL_SETS}
    with closing(DocumentQA.open(path, embedder=embedder, read_only=True, reranker=None)) as qa:
        for question in pack.questions:
            if question.answerable:
                for name, channels in CHANNEL_SETS.items():
                    ranking = qa.search(question.question, k=DEEPEST, channels=channels)
                    keys: list[PageKey] = [(c.page.source.name, c.page.number) for c in ranking if c.page]
                    scores[name].append(ndcg(keys, question.evidence, 5))
    return {name: np.array(values) for name, values in scores.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = pack_arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[16])
    options = parse_pack(parser, argv)
    with index_of(options, row_type="float16", reranker=None) as index:
        write_json(options, versions_of(options.pack, index, options.rows))
    return 0


def versions_of(folder: Path, index: Path, rows_kept: Sequence[int]) -> dict[str, Any]:
    """Measure copies of an index with rows stored smaller; returns the figures of each."""
    pack = load_pack(folder)
    embedder: Any = OnceEncoded(default_embedder())
    versions: dict[str, Any] = {
        "float16, all rows": None,
        "int8, all rows": partial(compact, row_type="int8"),
        **{
            f"int8, {rows} rows": partial(compact, row_type="int8", rows=rows, embedder=embedder)
            for rows in rows_kept
        },
    }
    results: dict[str, Any] = {}
    base: dict[str, np.ndarray] = {}
    for name, write_anew in versions.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            shutil.copytree(index, path, ignore=shutil.ignore_patterns(f"{CHROMA_PREFIX}*"))
            (write_anew or partial(compact, row_type="float16"))(path)
            scores = measure(pack, path, embedder)
            base = base or scores
            results[name] = {"bytes": index_bytes(path)}
        for channels, values in scores.items():
            loss = values - base[channels]
            (low,), (high,) = bootstrap_interval(loss[:, None])
            results[name][channels] = {
                "ndcg@5": values.mean(),
                "difference": loss.mean(),
                "interval": [low, high],
            }
            print(
                f"{name}, {channels}: nDCG@5 {values.mean():.4f}, "
                f"{loss.mean():+.4f} [{low:+.4f}, {high:+.4f}]",
                flush=True,
            )
    return results


if __name__ == "__main__":
    raise SystemExit(main())
