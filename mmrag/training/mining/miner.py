"""The loop of mining: retrieve, judge, select, append a record; a rerun resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mmrag.errors import ServerAnswerError
from mmrag.files import atomic_write
from mmrag.images import with_page_renderer
from mmrag.rerank.protocol import ScoreSettings
from mmrag.training.mining.questions import MiningQuestion
from mmrag.training.mining.records import FORMAT, RecordFile, item_data
from mmrag.training.mining.report import MiningReport
from mmrag.training.mining.rules import KNOWN_POSITIVE, Rules, ScoredRecord, Selection, select
from mmrag.types import Candidate, Query, Ranking, Usage, Verdict

if TYPE_CHECKING:
    from mmrag.index.filters import Filter
    from mmrag.pipeline import DocumentQA
    from mmrag.rerank import Reranker

DEPTH = 100
"""Ranks in which to look for the positives, beyond those that may become negatives."""

SAME_TEXT_CHARS = 100
"""Two pages with less text (a heading) may read alike and show different things."""

SCORE_RULES = ("margin", "ratio", "false_negative", "least_positive")
"""Rules that compare scores of a judge."""


class Miner:
    """Mines an index with a reranker as the judge.

    Args:
        qa: the index, open for reading at least; it draws pages for a judge that looks at them.
        judge: scores the candidates; its scores must be comparable between the candidates of a query, as
            they are in every mode but ``listwise``. None: only ``rules.ranks``, ``negatives``, ``pick`` and
            equal texts decide.
        judge_data: description of the judge for the file of settings: mode, model, tokens. Everything that
            changes its scores should be in it: a run resumes only with the same.
        rules: see `mmrag.training.mining.rules.Rules`.
        filter: metadata filter of the retrieval.
        texts: write the items' texts into the records.
        pictures: draw the positives and negatives and write the pictures' paths into the records.

    Raises:
        ValueError: rules that compare scores, but no judge.
    """

    def __init__(
        self,
        qa: DocumentQA,
        judge: Reranker | None,
        *,
        judge_data: Mapping[str, Any] | None = None,
        rules: Rules | None = None,
        filter: Filter | None = None,
        texts: bool = True,
        pictures: bool = False,
    ) -> None:
        self.qa = qa
        self.rules = rules or Rules()
        if judge is None:
            _check_needs_no_judge(self.rules)
        self.judge = with_page_renderer(judge, lambda page, pixels: qa.render(page, max_pixels=pixels))
        self.judge_data = dict(judge_data or {"judge": None if judge is None else repr(judge)})
        self.filter = filter
        self.texts = texts
        self.pictures = pictures

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the content of a record."""
        manifest = self.qa.index.manifest
        return {
            "format": FORMAT,
            "embedder": manifest.embedder,
            "fingerprint": manifest.fingerprint,
            "judge": self.judge_data,
            "rules": _rules_data(self.rules),
            "filter": self.filter,
            "texts": self.texts,
            "pictures": self.pictures,
        }

    def mine(
        self,
        questions: Sequence[MiningQuestion],
        target: str | Path,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> MiningReport:
        """Append a record for every question that has none yet.

        The settings are written to ``<name>.meta.json`` in the same folder.

        Args:
            questions: see `mmrag.training.mining.questions.read_questions`.
            target: the output; an existing one is resumed.
            progress: called with the number of questions done and their total after each.

        Returns:
            The report of the whole file.

        Raises:
            ValueError: the output has other settings, or one of its records another wording of a question.
            BlockingIOError: another process writes it.
            ServerError: the judge failed; the records so far are kept, and the same call resumes.
        """
        target = Path(target)
        start = time.monotonic()
        target.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(target):
            recipe = self._write_settings(target)
            file = RecordFile(target)
            left = [question for question in questions if not _is_mined(question, file)]
            usage = Usage()
            for number, question in enumerate(left, len(questions) - len(left)):
                if progress is not None:
                    progress(number, len(questions))
                record, cost = self.record(question)
                file.append({"format": FORMAT, "recipe": recipe, **record})
                usage += cost
        if progress is not None:
            progress(len(questions), len(questions))
        report = MiningReport.from_records(file.records.values())
        report.new, report.seconds, report.usage = len(left), time.monotonic() - start, usage
        return report

    def record(self, question: MiningQuestion) -> tuple[dict[str, Any], Usage]:
        """Return the record of one question, without its first two keys, and the judge's cost."""
        query = _query(question)
        pool = self._pool(query, question)
        verdicts, usage = self._verdicts(query, pool)
        scores = _scored_records(pool, question, verdicts)
        positives = [scores[id] for id in question.positives if id in scores]
        candidates = [record for id, record in scores.items() if id not in question.positives]
        if positives:
            selection = select(question.id, positives, candidates, self.rules)
        else:
            selection = Selection((), skipped="the judge cannot read any positive")
        by_id = {candidate.id: candidate for candidate in pool}
        return self._record_data(question, selection, by_id, bool(verdicts)), usage

    # ---- the steps -----------------------------------------------------------------------------------

    def _pool(self, query: Query, question: MiningQuestion) -> list[Candidate]:
        """Return the candidates within the ranks, and all labelled records (rank 0: not retrieved)."""
        first, last = self.rules.ranks
        ranking = self.qa.search(query, k=max(last, DEPTH), filter=self.filter, rerank=False)
        labels, known_ids = set(question.positives), set(question.known_ids)
        pool = [
            candidate
            for candidate in ranking
            if candidate.id in labels or (first <= candidate.rank <= last and candidate.id not in known_ids)
        ]
        absent = labels - {candidate.id for candidate in pool}
        records = self.qa.index.get([id for id in question.positives if id in absent])
        return [*pool, *(Candidate(record, 0.0, 0) for record in records)]

    def _verdicts(self, query: Query, pool: Sequence[Candidate]) -> tuple[dict[str, Verdict], Usage]:
        """Return the verdicts by id, without candidates that the judge cannot read; none without a judge."""
        if self.judge is None:
            return {}, Usage()
        # A ranking counts from 1 without gaps, and its best come first.
        candidates = tuple(replace(candidate, rank=rank) for rank, candidate in enumerate(pool, 1))
        ranking = self.judge.rerank(Ranking(query, candidates))
        if not ranking.reranked:
            raise ServerAnswerError(
                f"the judge must judge, got the prior order ({ranking.why_not}). Mine with on_error='raise'.",
                ranking.why_not or "",
            )
        verdicts = {candidate.id: candidate.verdict for candidate in ranking if candidate.verdict is not None}
        if len(verdicts) < len(pool):
            raise ValueError(
                f"the judge must judge every candidate, got verdicts on {len(verdicts)} of {len(pool)}. "
                "Raise its depth, and set no top_n."
            )
        return {id: verdict for id, verdict in verdicts.items() if verdict.read}, ranking.usage

    def _record_data(
        self, question: MiningQuestion, selection: Selection, pool: Mapping[str, Candidate], has_scores: bool
    ) -> dict[str, Any]:
        def items(records: Sequence[ScoredRecord], pictures: bool = False) -> list[dict[str, Any]]:
            return [self._item(record, pool[record.id], has_scores, pictures) for record in records]

        reasons = [reason for _, reason in selection.removed]
        removed = items([record for record, _ in selection.removed])
        return {
            "query": _query_data(question),
            "positives": items(selection.positives, self.pictures),
            "negatives": items(selection.negatives, self.pictures),
            "removed": [
                *({**item, "reason": reason} for item, reason in zip(removed, reasons, strict=True)),
                *self._known_items(question),
            ],
            "doubtful": items(selection.doubtful),
            "skipped": selection.skipped,
        }

    def _item(
        self, record: ScoredRecord, candidate: Candidate, has_scores: bool, picture: bool
    ) -> dict[str, Any]:
        has_rank = candidate.rank > 0
        image = None
        if picture and candidate.page is not None:
            image = str(self.qa.picture_path(candidate.page))
        return item_data(
            candidate.record,
            score=record.score if has_scores else None,
            rank=candidate.rank if has_rank else None,
            retrieval=candidate.score if has_rank else None,
            scores={name: value for name, value in candidate.scores.items() if name != "fused"},
            image=image,
            text=self.texts,
        )

    def _known_items(self, question: MiningQuestion) -> list[dict[str, Any]]:
        """Return the records that the data knows to answer, as removed items."""
        return [
            {**item_data(record, score=None, text=self.texts), "reason": KNOWN_POSITIVE}
            for record in self.qa.index.get(question.known_ids)
            if record.id not in question.positives
        ]

    def _write_settings(self, target: Path) -> str:
        """Return the digest of the settings, after writing them or comparing them with the file's.

        Raises:
            ValueError: the output exists and was made with other settings, or nobody knows with which.
        """
        settings = self.settings
        path = target.with_name(target.name + ".meta.json")
        if target.exists():
            _check_resumable(target, path, settings)
        recipe = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        with atomic_write(path) as file:
            file.write(json.dumps({"recipe": recipe, "made": settings}, indent=2) + "\n")
        return recipe


def _rules_data(rules: Rules) -> dict[str, Any]:
    """Return the rules as they read back from JSON, where tuples are lists.

    A `positive_rank` of None is left out, so that files made before there was one can be resumed.
    """
    data: dict[str, Any] = json.loads(json.dumps(asdict(rules)))
    if rules.positive_rank is None:
        del data["positive_rank"]
    return data


def _check_needs_no_judge(rules: Rules) -> None:
    """Check that no rule compares scores.

    Raises:
        ValueError: one does.
    """
    active = [name for name in SCORE_RULES if getattr(rules, name) is not None]
    if active:
        raise ValueError(
            f"rules that compare scores need a judge, got none and {', '.join(active)}. "
            "Set them to None, or name a reranker."
        )


def _check_resumable(target: Path, path: Path, settings: Mapping[str, Any]) -> None:
    """Check that an output was made with `settings`, by the file of settings at `path`.

    Raises:
        ValueError: it was made with others, or nobody knows with which.
    """
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8")).get("made", {})
        changes = [key for key in settings if before.get(key) != settings[key]]
        if changes:
            key = changes[0]
            raise ValueError(
                f"{target} was made in another way and cannot be resumed: {key} was "
                f"{before.get(key)!r}, is {settings[key]!r}. Choose another output."
            )
    elif target.stat().st_size:
        raise ValueError(
            f"{target} must have its settings in {path.name} to be resumed, got no such file. "
            "Choose another output."
        )


@contextmanager
def _exclusive(target: Path) -> Iterator[None]:
    """Lock the output against other processes.

    Raises:
        BlockingIOError: another process has it locked.
    """
    lock = FileLock(str(target) + ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(
            f"{target} must be written by one process at a time, and another one writes it. Wait for it."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _query(question: MiningQuestion) -> Query:
    if question.image is None:
        return Query(text=question.text)
    from mmrag.images import load_image

    return Query(text=question.text or None, image=load_image(question.image))


def _query_data(question: MiningQuestion) -> dict[str, Any]:
    return {
        "id": question.id,
        "text": question.text,
        "image": question.image,
        "labelled": list(question.positives),
    }


def _is_mined(question: MiningQuestion, file: RecordFile) -> bool:
    """Return whether the file has the question's record.

    Raises:
        ValueError: it has one of another question with the same id.
    """
    record = file.records.get(question.id)
    if record is None:
        return False
    for key, value in _query_data(question).items():
        before = record["query"].get(key)
        if before != value:
            raise ValueError(
                f"{file.path} has question {question.id!r} with another {key}: {before!r}, now {value!r}. "
                "Give it another id, or choose another output."
            )
    return True


def _scored_records(
    pool: Sequence[Candidate], question: MiningQuestion, verdicts: Mapping[str, Verdict]
) -> dict[str, ScoredRecord]:
    """Return the candidates with a verdict by id; without verdicts all of them, positives with score 1."""
    labels = set(question.positives)
    texts = {_normal_text(candidate) for candidate in pool if candidate.id in labels} - {""}
    return {
        candidate.id: ScoredRecord(
            candidate.id,
            verdicts[candidate.id].score if verdicts else float(candidate.id in labels),
            candidate.rank or None,
            same_text=candidate.id not in labels and _normal_text(candidate) in texts,
        )
        for candidate in pool
        if not verdicts or candidate.id in verdicts
    }


def _normal_text(candidate: Candidate) -> str:
    """Return the lower-case words of a candidate; ``""`` for too little text to tell pages apart."""
    text = " ".join(candidate.record.text.split()).lower()
    return text if len(text) >= SAME_TEXT_CHARS else ""


def judge_data(judge: Reranker | None) -> dict[str, Any]:
    """Return everything that changes a judge's scores, so that no run resumes with another judge."""
    if judge is None:
        return {}
    return judge.score_settings() if isinstance(judge, ScoreSettings) else {"fingerprint": ""}
