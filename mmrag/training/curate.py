"""The stage `curate`: retrieve, have a judge say yes or no, keep judged negatives (Magic-MM's third stage).

Each sub-dataset gives two files of the one format in the output folder, beside what the judge said:

* ``NAME.jsonl`` for `finetune`: positives as they were, ``negatives`` that the judge denied, and among
  ``removed`` what it affirmed, so that no trainer takes that for a negative.
* ``NAME.rerank.jsonl`` for `rerank`: what the judge affirmed stands among the positives.

Decisions taken here:

* Relevant is what the judge gives a half or more (log-odds 0 or more); as always in mining
  (`mmrag.training.mining.rules`), what it scores as the query's own positive or more is removed, too. The
  positives stay whatever it says of them.
* The loop is `mmrag.training.mining.Miner`'s: its lines are kept in ``mined/``, and a run that was cut off
goes on
  there. What the data knows of an item (its picture, boxes, rule) is taken over from the data.
* An item that the data says answers its query, too (``removed``), is not judged and never a negative.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.training.config import DataConfig, JudgeConfig, TrainConfig, load_config
from mmrag.training.corpus import Corpus, check_pages, corpus_of, fill_index, record_id
from mmrag.training.mining import Miner, MiningQuestion, MiningReport, Rules, read_mined
from mmrag.training.mining.miner import judge_data
from mmrag.training.mining.rules import JUDGED_POSITIVE, KNOWN_POSITIVE, SAME_TEXT

if TYPE_CHECKING:
    from mmrag.embedders.base import Embedder
    from mmrag.pipeline import DocumentQA
    from mmrag.rerank import Reranker

AFFIRMED = frozenset({JUDGED_POSITIVE, SAME_TEXT})
CONTENT = ("id", "kind", "file", "path", "sha256", "page", "label", "text", "image", "boxes")
"""What an item is, as against what was said of it."""

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Curated:
    """What became of one sub-dataset.

    Attributes:
        name: its name.
        queries: that have a positive.
        judgements: that the judge is asked for at most.
        pages: of the documents that are named.
        mined: None after a check.
        affirmed: items that the judge affirmed, now positives of the reranker's file.
        target, rerank: the files; ``""`` after a check.
    """

    name: str
    queries: int
    judgements: int
    pages: int
    mined: MiningReport | None = None
    affirmed: int = 0
    target: str = ""
    rerank: str = ""


@dataclass(slots=True)
class CurateReport:
    """All sub-datasets of a run."""

    parts: list[Curated] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            part.name: {
                "queries": part.queries,
                "judgements": part.judgements,
                "pages": part.pages,
                "affirmed": part.affirmed,
                "to": part.target,
                "rerank": part.rerank,
                "mined": None if part.mined is None else part.mined.to_dict(),
            }
            for part in self.parts
        }

    def table(self) -> str:
        """For a terminal."""
        lines: list[str] = []
        for part in self.parts:
            lines.append(
                f"{part.name}: {part.queries} queries, {part.pages} pages, "
                f"at most {part.judgements} judgements"
            )
            if part.mined is not None:
                lines += ["  " + line for line in part.mined.table().splitlines()]
                lines.append(f"  affirmed by the judge: {part.affirmed}, positives in {part.rerank}")
                lines.append(f"  in {part.target}")
        return "\n".join(lines)


def run_curate(
    path: str | Path, *, check: bool = False, resume: bool = True, progress: Progress | None = None
) -> CurateReport:
    """The stage as its YAML file says; see `curate`."""
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
        config: of the stage; `model.name` is the embedder that retrieves, `judge` says who judges.
        judge: instead of the one that the configuration names; its scores must be probabilities.
        embedder: instead of `model.name`.
        check: read the data, open every document, ask the server for its model; judge nothing.
        resume: go on where a run stopped; False begins again.
        progress: called with queries done and all queries of a sub-dataset.

    Raises:
        FileNotFoundError, ValueError: data, documents or configuration are not as they must be.
        ServerError: the judge failed; the lines before stay, and the same call goes on from there.
    """
    output = Path(config.run.output)
    said: dict[str, Any] = {"judge": type(judge).__name__}
    read = [_Part(one, config.judge) for one in config.data]
    names = [part.name for part in read]
    if len(set(names)) < len(names):
        raise ValueError(f"data: every sub-dataset must have a name of its own, got {', '.join(names)}.")
    report = CurateReport([part.counted(opened=config.judge.index is None) for part in read])
    if judge is None:
        judge = load_judge(config.judge, output / "replies")
        said = {"mode": config.judge.mode, **judge_data(judge, config.judge.mode)}
    if check:
        return report
    if embedder is None:
        from mmrag.models.load import load_embedder

        embedder = load_embedder(config.model.name)
    output.mkdir(parents=True, exist_ok=True)
    for part, told in zip(read, report.parts, strict=True):
        if not resume:
            part.forget(output)
        with _opened(part, config.judge, embedder, output) as qa:
            miner = Miner(qa, judge, judge_data=said, rules=part.rules(config.judge))
            told.mined = miner.mine(part.questions(qa), part.mined(output), progress=progress)
        part.write(output, told)
    return report


def load_judge(config: JudgeConfig, cache: Path) -> Reranker:
    """The judge of a configuration; a server is asked for its model now, not after the documents are read.

    Args:
        config: who judges.
        cache: folder for a server's replies.

    Raises:
        ValueError: a mode that needs a server, and none is named; or the other way round.
        ServerError: the server cannot be asked.
    """
    if config.mode == "local":
        if config.reranker_url is not None:
            raise ValueError(
                f"judge: mode 'local' asks no server, got reranker_url {config.reranker_url!r}. "
                "Leave one of them out."
            )
        from mmrag.rerank.local import LocalReranker

        return LocalReranker(depth=None)
    if config.reranker_url is None:
        raise ValueError(
            f"judge: mode {config.mode!r} needs reranker_url, got none. Start a server with: "
            "mmrag serve MODEL. Or write mode: local."
        )
    from mmrag.rerank import ThinkReranker

    judge = ThinkReranker(
        config.reranker_url,
        mode=config.mode,
        model=config.reranker_model,
        think_tokens=config.think_tokens,
        images=config.images,
        cache=cache,
    )
    if judge.client is not None:
        judge.client.model_name()
    return judge


class _Part:
    """One sub-dataset."""

    def __init__(self, data: DataConfig, judge: JudgeConfig) -> None:
        self.path = data.path
        self.name = data.name or Path(data.path).stem
        useful = [line for line in read_mined(data.path) if line["positives"] and not line.get("skipped")]
        self.lines = useful[: data.cap]
        if not self.lines:
            raise ValueError(f"{data.path} must hold at least one query with a positive, got none.")
        self.by_query: dict[str, Mapping[str, Any]] = {}
        for line in self.lines:
            id = line["query"]["id"]
            if id in self.by_query:
                raise ValueError(f"{data.path}: a query's id must be used once, got {id!r} twice.")
            self.by_query[id] = line
        self.corpus: Corpus = corpus_of(self.lines, data.path)
        self.retrieve = judge.retrieve

    def counted(self, *, opened: bool) -> Curated:
        """Before anything is judged; `opened`: look into every document."""
        judgements = sum(self.retrieve + len(line["positives"]) for line in self.lines)
        pages = check_pages(self.corpus) if opened else sum(map(len, self.corpus.files.values()))
        return Curated(self.name, len(self.lines), judgements, pages)

    def rules(self, judge: JudgeConfig) -> Rules:
        """Yes or no."""
        half = 0.0 if judge.mode == "local" else 0.5
        return Rules(
            ranks=(1, judge.retrieve),
            negatives=judge.negatives,
            margin=None,
            ratio=None,
            false_negative=half,
            least_positive=None,
        )

    def questions(self, qa: DocumentQA) -> list[MiningQuestion]:
        """The queries, whose positives must be in the index."""
        there = set(qa.index.ids())
        made: list[MiningQuestion] = []
        for line in self.lines:
            query = line["query"]
            ids = tuple(dict.fromkeys(record_id(item) for item in line["positives"]))
            missing = [id for id in ids if id not in there]
            if missing:
                raise ValueError(
                    f"{self.path}: a positive must be in the index, got {missing[0]!r} of the query "
                    f"{query['id']!r}, which is not there: its file has changed, cannot be read, or is not "
                    "in that index. Make the pairs again, or add the file."
                )
            known = tuple(id for id in dict.fromkeys(map(record_id, line["removed"])) if id in there)
            made.append(MiningQuestion(query["id"], query.get("text") or "", ids, query.get("image"), known))
        return made

    # ---- files -----------------------------------------------------------------------------------

    def mined(self, output: Path) -> Path:
        """Where the miner's own lines are."""
        return output / "mined" / f"{self.name}.jsonl"

    def forget(self, output: Path) -> None:
        """Take away what an earlier run left."""
        mined = self.mined(output)
        for path in (mined, mined.with_name(mined.name + ".meta.json")):
            path.unlink(missing_ok=True)
        shutil.rmtree(output / f"index-{self.name}", ignore_errors=True)

    def write(self, output: Path, told: Curated) -> None:
        """Both files, each whole or not at all."""
        lines = [
            self._restored(line)
            for line in read_mined(self.mined(output))
            if line["query"]["id"] in self.by_query
        ]
        reranker = [_for_reranker(line) for line in lines]
        told.affirmed = sum(
            len(after["positives"]) - len(before["positives"])
            for before, after in zip(lines, reranker, strict=True)
        )
        told.target = str(_write(output / f"{self.name}.jsonl", lines))
        told.rerank = str(_write(output / f"{self.name}.rerank.jsonl", reranker))

    def _restored(self, line: dict[str, Any]) -> dict[str, Any]:
        """A mined line with what the data knows of its query and items."""
        before = self.by_query[line["query"]["id"]]
        boxes = {record_id(item): item.get("boxes") for item in before["positives"]}
        known = {record_id(item): item.get("reason", KNOWN_POSITIVE) for item in before["removed"]}
        restored = {
            **line,
            "query": {**before["query"], **line["query"]},
            **{
                name: [self._item(item) for item in line[name]]
                for name in ("positives", "negatives", "removed", "doubtful")
            },
        }
        for item in restored["positives"]:
            if boxes.get(item["id"]):
                item["boxes"] = boxes[item["id"]]
        for item in restored["removed"]:
            if item["reason"] == KNOWN_POSITIVE:
                item["reason"] = known[item["id"]]
        there = {item["id"] for item in restored["removed"]}
        restored["removed"] += [item for item in before["removed"] if record_id(item) not in there]
        return restored

    def _item(self, item: dict[str, Any]) -> dict[str, Any]:
        own = self.corpus.items.get(item["id"], {})
        content = {name: own[name] for name in CONTENT if name in own and name not in ("id", "boxes")}
        return {**item, **content}


def _for_reranker(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line whose affirmed items are positives."""
    affirmed = [item for item in line["removed"] if item.get("reason") in AFFIRMED]
    others = [item for item in line["removed"] if item.get("reason") not in AFFIRMED]
    return {**line, "positives": [*line["positives"], *affirmed], "removed": others}


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            for line in lines:
                text = json.dumps(line, ensure_ascii=False) + "\n"
                file.write(text.encode("utf-8", errors="backslashreplace"))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _opened(part: _Part, judge: JudgeConfig, embedder: Embedder, output: Path) -> DocumentQA:
    """The index that is given, or one of the documents that the data names."""
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
