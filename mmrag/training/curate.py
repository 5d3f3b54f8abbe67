"""The stage `curate`: retrieve, let a judge answer yes or no, keep judged negatives (Magic-MM's third stage).

Each sub-dataset gives two files of mined records in the output folder:

* ``NAME.jsonl`` for `finetune`: its positives, ``negatives`` that the judge denied, and among ``removed``
  what it affirmed, so that no trainer takes that for a negative.
* ``NAME.rerank.jsonl`` for `rerank`: what the judge affirmed is among the positives.

Decisions taken here:

* A page is relevant if the judge gives it a half or more (log-odds 0 or more). As always in mining
  (`mmrag.training.mining.rules`), what it scores as high as the query's own positive is removed, too. The
  positives stay whatever their score.
* The work is done by `mmrag.training.mining.Miner`, whose records are kept in ``mined/``: an interrupted run
  resumes there. What the data has on an item (its picture, boxes, rule) is copied from the data.
* An item that the data has among ``removed`` also answers its query: it is not judged, and never a negative.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.files import atomic_write
from mmrag.training.config import DataConfig, JudgeConfig, TrainConfig, load_config
from mmrag.training.corpus import check_pages, corpus_of, fill_index, record_id
from mmrag.training.mining import Miner, MiningQuestion, MiningReport, Rules, read_mined
from mmrag.training.mining.miner import judge_data
from mmrag.training.mining.records import LISTS, encode_record
from mmrag.training.mining.rules import JUDGED_POSITIVE, KNOWN_POSITIVE, SAME_TEXT

if TYPE_CHECKING:
    from mmrag.embedders.base import Embedder
    from mmrag.pipeline import DocumentQA
    from mmrag.rerank import Reranker

AFFIRMATIONS = frozenset({JUDGED_POSITIVE, SAME_TEXT})
"""Reasons for removing an item from the negatives that say that it is relevant."""
CONTENT = ("kind", "file", "path", "sha256", "page", "label", "text", "image")
"""Keys of an item's content, as opposed to its scores and reasons."""

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class SubDatasetReport:
    """Counts of one sub-dataset.

    Attributes:
        name: of the sub-dataset.
        queries: with a positive.
        judgements: largest number of answers that the judge must give.
        pages: of the documents that the data names.
        mining_report: None after a check.
        affirmations: items that the judge affirmed, now positives of the reranker's file.
        target, rerank: the files; ``""`` after a check.
    """

    name: str
    queries: int
    judgements: int
    pages: int
    mining_report: MiningReport | None = None
    affirmations: int = 0
    target: str = ""
    rerank: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "queries": self.queries,
            "judgements": self.judgements,
            "pages": self.pages,
            "affirmed": self.affirmations,
            "to": self.target,
            "rerank": self.rerank,
            "mined": None if self.mining_report is None else self.mining_report.to_dict(),
        }

    def lines(self) -> list[str]:
        """Return the report as lines for a terminal."""
        head = (
            f"{self.name}: {self.queries} queries, {self.pages} pages, at most {self.judgements} judgements"
        )
        if self.mining_report is None:
            return [head]
        return [
            head,
            *("  " + line for line in self.mining_report.table().splitlines()),
            f"  affirmed by the judge: {self.affirmations}, positives in {self.rerank}",
            f"  in {self.target}",
        ]


@dataclass(slots=True)
class CurateReport:
    """Reports of all sub-datasets of a run."""

    parts: list[SubDatasetReport] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the reports by name as plain data."""
        return {part.name: part.to_dict() for part in self.parts}

    def table(self) -> str:
        """Return the reports as text for a terminal."""
        return "\n".join(line for part in self.parts for line in part.lines())


def run_curate(
    path: str | Path, *, check: bool = False, resume: bool = True, progress: Progress | None = None
) -> CurateReport:
    """Run `curate` on the configuration in a YAML file."""
    return curate(load_config(path, "curate"), check=check, resume=resume, progress=progress)


def curate(
    config: TrainConfig,
    *,
    judge: Reranker | None = None,
    embedder: Embedder | None = None,
    check: bool = False,
    resume: bool = True,
    progress: Progress | None = None,
) -> CurateReport:
    """Judge what the retriever finds, for every sub-dataset.

    Args:
        config: of the stage; `model.name` is the embedder that retrieves, `judge` configures the judge.
        judge: replaces the one that is configured; its scores must be probabilities.
        embedder: replaces `model.name`.
        check: read the data, open every document, request the server's model name; judge nothing.
        resume: continue an interrupted run; False begins again.
        progress: called with the number of finished queries and of all queries of a sub-dataset.

    Raises:
        FileNotFoundError, ValueError: data, documents or configuration are unusable.
        ServerError: the judge failed; the records so far are kept, and the same call resumes after them.
    """
    output = Path(config.run.output)
    parts = [_SubDataset(data, config.judge) for data in config.data]
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"data: every sub-dataset must have a name of its own, got {', '.join(names)}.")
    report = CurateReport([part.count(open_documents=config.judge.index is None) for part in parts])
    judge_settings: dict[str, Any] = {"judge": type(judge).__name__}
    if judge is None:
        judge = load_judge(config.judge, output / "replies")
        judge_settings = {"mode": config.judge.mode, **judge_data(judge)}
    if check:
        return report
    if embedder is None:
        from mmrag.models.load import load_embedder

        embedder = load_embedder(config.model.name)
    output.mkdir(parents=True, exist_ok=True)
    for part, part_report in zip(parts, report.parts, strict=True):
        if not resume:
            part.remove_earlier_run(output)
        with _open_index(part, config.judge, embedder, output) as qa:
            miner = Miner(qa, judge, judge_data=judge_settings, rules=yes_no_rules(config.judge))
            part_report.mining_report = miner.mine(
                part.questions(qa), part.mined_file(output), progress=progress
            )
        part.write(output, part_report)
    return report


def load_judge(config: JudgeConfig, cache: Path) -> Reranker:
    """Load the judge of a configuration; of a server, request the model's name before documents are read.

    Args:
        config: of the judge.
        cache: folder for a server's replies.

    Raises:
        ValueError: the mode needs a server but has no URL, or the other way round.
        ServerError: the server does not answer.
    """
    return _local_judge(config) if config.mode == "local" else _served_judge(config, cache)


def _local_judge(config: JudgeConfig) -> Reranker:
    from mmrag.rerank.local import LocalReranker

    if config.reranker_url is not None:
        raise ValueError(
            f"judge: mode 'local' uses no server, got reranker_url {config.reranker_url!r}. "
            "Leave one of them out."
        )
    return LocalReranker(depth=None)


def _served_judge(config: JudgeConfig, cache: Path) -> Reranker:
    from mmrag.rerank import ThinkReranker

    if config.reranker_url is None:
        raise ValueError(
            f"judge: mode {config.mode!r} needs reranker_url, got none. Start a server with: "
            "mmrag serve MODEL. Or write mode: local."
        )
    judge = ThinkReranker(
        config.reranker_url,
        mode=config.mode,
        model=config.reranker_model,
        think_tokens=config.think_tokens,
        images=config.images,
        text_chars=config.text_chars,
        cache=cache,
    )
    if judge.client is not None:
        judge.client.model_name()
    return judge


def yes_no_rules(config: JudgeConfig) -> Rules:
    """Return the mining rules that remove what the judge affirms, and nothing by a margin."""
    return Rules(
        ranks=(1, config.retrieve),
        negatives=config.negatives,
        margin=None,
        ratio=None,
        false_negative=0.0 if config.mode == "local" else 0.5,  # log-odds, or a probability
        least_positive=None,
    )


class _SubDataset:
    """The records of one sub-dataset with a positive, and their documents.

    Raises:
        ValueError: there is no such record, or two have the same query id.
    """

    def __init__(self, data: DataConfig, judge: JudgeConfig) -> None:
        self.path = data.path
        self.name = data.name or Path(data.path).stem
        self.retrieve = judge.retrieve
        useful = [
            record for record in read_mined(data.path) if record["positives"] and not record.get("skipped")
        ]
        self.records = useful[: data.cap]
        if not self.records:
            raise ValueError(f"{data.path} must hold at least one query with a positive, got none.")
        self.by_query: dict[str, Mapping[str, Any]] = {}
        for record in self.records:
            id = record["query"]["id"]
            if id in self.by_query:
                raise ValueError(f"{data.path}: a query's id must be used once, got {id!r} twice.")
            self.by_query[id] = record
        self.corpus = corpus_of(self.records, data.path)

    def count(self, *, open_documents: bool) -> SubDatasetReport:
        """Count queries, judgements and pages before anything is judged.

        Args:
            open_documents: open every document and check its pages.
        """
        judgements = sum(self.retrieve + len(record["positives"]) for record in self.records)
        named_pages = sum(map(len, self.corpus.files.values()))
        pages = check_pages(self.corpus) if open_documents else named_pages
        return SubDatasetReport(self.name, len(self.records), judgements, pages)

    def questions(self, qa: DocumentQA) -> list[MiningQuestion]:
        """Return the queries as questions to mine for.

        Raises:
            ValueError: a positive is not in the index.
        """
        index_ids = set(qa.index.ids())
        return [self._question(record, index_ids) for record in self.records]

    def _question(self, record: Mapping[str, Any], index_ids: set[str]) -> MiningQuestion:
        query = record["query"]
        positives = tuple(dict.fromkeys(map(record_id, record["positives"])))
        for id in positives:
            if id not in index_ids:
                raise ValueError(
                    f"{self.path}: a positive must be in the index, got {id!r} of the query "
                    f"{query['id']!r}, which is not there: its file has changed, cannot be read, or is not "
                    "in that index. Make the pairs again, or add the file."
                )
        also_relevant = dict.fromkeys(map(record_id, record["removed"]))
        return MiningQuestion(
            query["id"],
            query.get("text") or "",
            positives,
            query.get("image"),
            tuple(id for id in also_relevant if id in index_ids),
        )

    # ---- files -----------------------------------------------------------------------------------

    def mined_file(self, output: Path) -> Path:
        """Return the path of the miner's own records."""
        return output / "mined" / f"{self.name}.jsonl"

    def remove_earlier_run(self, output: Path) -> None:
        """Delete records and index of an earlier run."""
        mined_file = self.mined_file(output)
        for path in (mined_file, mined_file.with_name(mined_file.name + ".meta.json")):
            path.unlink(missing_ok=True)
        shutil.rmtree(output / f"index-{self.name}", ignore_errors=True)

    def write(self, output: Path, report: SubDatasetReport) -> None:
        """Write both files, each whole, and enter them into the report."""
        records = [
            self._with_data(record)
            for record in read_mined(self.mined_file(output))
            if record["query"]["id"] in self.by_query
        ]
        for_reranker = [_with_affirmed_positives(record) for record in records]
        report.affirmations = sum(len(record["positives"]) for record in for_reranker) - sum(
            len(record["positives"]) for record in records
        )
        report.target = _write_records(output / f"{self.name}.jsonl", records)
        report.rerank = _write_records(output / f"{self.name}.rerank.jsonl", for_reranker)

    def _with_data(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a mined record with what the data has on its query and items."""
        data = self.by_query[record["query"]["id"]]
        lists = {name: [self._with_content(item) for item in record[name]] for name in LISTS}
        boxes = {record_id(item): item["boxes"] for item in data["positives"] if item.get("boxes")}
        for item in lists["positives"]:
            if item["id"] in boxes:
                item["boxes"] = boxes[item["id"]]
        reasons = {record_id(item): item.get("reason", KNOWN_POSITIVE) for item in data["removed"]}
        for item in lists["removed"]:
            if item["reason"] == KNOWN_POSITIVE:
                item["reason"] = reasons[item["id"]]
        mined_ids = {item["id"] for item in lists["removed"]}
        lists["removed"] += [item for item in data["removed"] if record_id(item) not in mined_ids]
        return {**record, "query": {**data["query"], **record["query"]}, **lists}

    def _with_content(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return a mined item with the content that the data has on it."""
        data = self.corpus.items.get(item["id"], {})
        return {**item, **{name: data[name] for name in CONTENT if name in data}}


def _with_affirmed_positives(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record whose affirmed items are positives."""
    affirmations = [item for item in record["removed"] if item.get("reason") in AFFIRMATIONS]
    rest_of_removed = [item for item in record["removed"] if item.get("reason") not in AFFIRMATIONS]
    return {**record, "positives": [*record["positives"], *affirmations], "removed": rest_of_removed}


def _write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> str:
    with atomic_write(path, "wb") as file:
        file.writelines(map(encode_record, records))
    return str(path)


def _open_index(part: _SubDataset, judge: JudgeConfig, embedder: Embedder, output: Path) -> DocumentQA:
    """Open the configured index, or build one from the documents that the data names."""
    from mmrag.pipeline import DocumentQA

    if judge.index is not None:
        if not Path(judge.index).is_dir():
            raise FileNotFoundError(f"judge: index must be a folder with an index, got {judge.index}.")
        return DocumentQA.open(judge.index, embedder=embedder, read_only=True, reranker=None)
    qa = DocumentQA.open(output / f"index-{part.name}", embedder=embedder, reranker=None)
    try:
        fill_index(qa, part.corpus)
    except BaseException:
        qa.close()
        raise
    return qa
