"""The loop: retrieve, judge, select, write a line; and go on where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mmrag.errors import ServerAnswerError
from mmrag.images import with_page_renderer
from mmrag.training.mining.questions import MiningQuestion
from mmrag.training.mining.records import FORMAT, LineFile, item_data
from mmrag.training.mining.report import MiningReport
from mmrag.training.mining.rules import KNOWN, Rules, Scored, Selection, select
from mmrag.types import Candidate, Query, Ranking, Usage, Verdict

if TYPE_CHECKING:
    from mmrag.index.filters import Filter
    from mmrag.pipeline import DocumentQA
    from mmrag.rerank import Reranker

DEPTH = 100
"""Ranks looked through for the rank of a positive, beyond those that may become negatives."""

SAME_TEXT_CHARS = 100
"""Two pages with fewer characters may read alike (a heading) and show different things."""


class Miner:
    """Mines an index with a reranker as the judge.

    Args:
        qa: the index, open for reading at least; it draws pages for a judge that looks at them.
        judge: scores the candidates; its scores must be comparable between the candidates of a query, as
            they are in every mode but ``listwise``. None: nothing is judged, and only ``rules.ranks``,
            ``negatives``, ``pick`` and the same text decide.
        judge_data: what the judge is, for the file beside the output: mode, model, tokens. Everything that
            changes its scores should be in it: a run goes on only with the same.
        rules: see `mmrag.training.mining.rules.Rules`.
        filter: metadata filter of the retrieval.
        texts: write the items' texts into the lines.
        pictures: draw the positives and negatives and write the pictures' paths into the lines.

    Raises:
        ValueError: rules that compare scores, and no judge.
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
            on = [
                name
                for name in ("margin", "ratio", "false_negative", "least_positive")
                if getattr(self.rules, name) is not None
            ]
            if on:
                raise ValueError(
                    f"rules that compare scores need a judge, got none and {', '.join(on)}. "
                    "Set them to None, or name a reranker."
                )
        self.judge = with_page_renderer(judge, lambda page, pixels: qa.render(page, max_pixels=pixels))
        self.judge_data = dict(judge_data or {"judge": None if judge is None else repr(judge)})
        self.filter = filter
        self.texts = texts
        self.pictures = pictures

    @property
    def made(self) -> dict[str, Any]:
        """All that decides what a line holds."""
        manifest = self.qa.index.manifest
        return {
            "format": FORMAT,
            "embedder": manifest.embedder,
            "fingerprint": manifest.fingerprint,
            "judge": self.judge_data,
            "rules": json.loads(json.dumps(asdict(self.rules))),  # as it reads back: tuples are lists
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
        """Write a line for every question that has none yet.

        Beside the output stands ``<name>.meta.json``, which says how it was made.

        Args:
            questions: see `mmrag.training.mining.questions.read_questions`.
            target: the output; one that is there is gone on with.
            progress: called with the questions done and their total after each.

        Returns:
            The report of the whole file.

        Raises:
            ValueError: the output was made in another way, or one of its lines for another wording.
            BlockingIOError: another process writes it.
            ServerError: the judge failed; the lines before stay, and the same call goes on from there.
        """
        target = Path(target)
        started = time.monotonic()
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(target) + ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BlockingIOError(
                f"{target} must be written by one process at a time, and another one writes it. Wait for it."
            ) from None
        try:
            recipe = self._recipe(target)
            file = LineFile(target)
            left = [one for one in questions if not _is_done(one, file, target)]
            spent = Usage()
            for place, question in enumerate(left, len(questions) - len(left)):
                if progress is not None:
                    progress(place, len(questions))
                line, usage = self.line(question)
                file.append({"format": FORMAT, "recipe": recipe, **line})
                spent += usage
            if progress is not None:
                progress(len(questions), len(questions))
        finally:
            lock.release()
        report = MiningReport.of(file.done.values())
        report.new, report.seconds, report.usage = len(left), time.monotonic() - started, spent
        return report

    def line(self, question: MiningQuestion) -> tuple[dict[str, Any], Usage]:
        """The line of one question, without its first two keys, and what judging it cost."""
        query = _query(question)
        pool = self._pool(query, question)
        verdicts, usage = self._judged(query, pool)
        wanted = set(question.positives)
        texts = {_plain(one) for one in pool if one.id in wanted} - {""}
        scored = {
            one.id: Scored(
                one.id,
                verdicts[one.id].score if verdicts else float(one.id in wanted),
                one.rank or None,
                one.id not in wanted and _plain(one) in texts,
            )
            for one in pool
            if not verdicts or one.id in verdicts
        }
        labelled = [scored[id] for id in question.positives if id in scored]
        others = [one for id, one in scored.items() if id not in wanted]
        if labelled:
            chosen = select(question.id, labelled, others, self.rules)
        else:
            chosen = Selection((), skipped="the judge cannot read any positive")
        return self._data(question, chosen, {one.id: one for one in pool}, bool(verdicts)), usage

    # ---- the steps -----------------------------------------------------------------------------------

    def _pool(self, query: Query, question: MiningQuestion) -> list[Candidate]:
        """The candidates within the ranks, and the labelled records wherever they are (0: not reached)."""
        first, last = self.rules.ranks
        ranking = self.qa.search(query, k=max(last, DEPTH), filter=self.filter, rerank=False)
        wanted, known = set(question.positives), set(question.known)
        pool = [
            one for one in ranking if one.id in wanted or (first <= one.rank <= last and one.id not in known)
        ]
        missing = wanted - {one.id for one in pool}
        records = self.qa.index.get([id for id in question.positives if id in missing])
        return [*pool, *(Candidate(record, 0.0, 0) for record in records)]

    def _judged(self, query: Query, pool: Sequence[Candidate]) -> tuple[dict[str, Verdict], Usage]:
        """Verdicts by id; those that the judge could not read are left out. Nothing without a judge."""
        if self.judge is None:
            return {}, Usage()
        # A ranking counts from 1 without gaps, and its best come first.
        candidates = tuple(replace(one, rank=place) for place, one in enumerate(pool, 1))
        judged = self.judge.rerank(Ranking(query, candidates))
        if not judged.reranked:
            raise ServerAnswerError(
                f"the judge must judge, got the prior order ({judged.why_not}). Mine with on_error='raise'.",
                judged.why_not or "",
            )
        verdicts = {one.id: one.verdict for one in judged if one.verdict is not None}
        if len(verdicts) < len(pool):
            raise ValueError(
                f"the judge must judge every candidate, got verdicts on {len(verdicts)} of {len(pool)}. "
                "Raise its depth, and set no top_n."
            )
        return {id: verdict for id, verdict in verdicts.items() if verdict.read}, judged.usage

    def _data(
        self, question: MiningQuestion, chosen: Selection, pool: Mapping[str, Candidate], scored: bool
    ) -> dict[str, Any]:
        def item(one: Scored, picture: bool = False) -> dict[str, Any]:
            candidate = pool[one.id]
            reached = candidate.rank > 0
            image = None
            if picture and self.pictures and candidate.page is not None:
                image = str(self.qa.picture_path(candidate.page))
            return item_data(
                candidate.record,
                score=one.score if scored else None,
                rank=candidate.rank if reached else None,
                retrieval=candidate.score if reached else None,
                scores={name: value for name, value in candidate.scores.items() if name != "fused"},
                image=image,
                text=self.texts,
            )

        return {
            "query": _query_data(question),
            "positives": [item(one, picture=True) for one in chosen.positives],
            "negatives": [item(one, picture=True) for one in chosen.negatives],
            "removed": [
                *({**item(one), "reason": reason} for one, reason in chosen.removed),
                *(
                    {**item_data(record, score=None, text=self.texts), "reason": KNOWN}
                    for record in self.qa.index.get(question.known)
                    if record.id not in question.positives
                ),
            ],
            "doubtful": [item(one) for one in chosen.doubtful],
            "skipped": chosen.skipped,
        }

    def _recipe(self, target: Path) -> str:
        """Digest of `made`; the file beside the output must say the same, or is written now."""
        made = self.made
        beside = target.with_name(target.name + ".meta.json")
        if beside.is_file():
            before = json.loads(beside.read_text(encoding="utf-8")).get("made", {})
            others = [key for key in made if before.get(key) != made[key]]
            if others and target.exists():
                key = others[0]
                raise ValueError(
                    f"{target} was made in another way and cannot be gone on with: {key} was "
                    f"{before.get(key)!r}, is {made[key]!r}. Choose another output."
                )
        elif target.exists() and target.stat().st_size:
            raise ValueError(
                f"{target} must have {beside.name} beside it to be gone on with, which is not there. "
                "Choose another output."
            )
        recipe = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
        partial = beside.with_name(beside.name + ".part")
        partial.write_text(json.dumps({"recipe": recipe, "made": made}, indent=2) + "\n", encoding="utf-8")
        partial.replace(beside)
        return recipe


def _query(question: MiningQuestion) -> Query:
    if question.image is None:
        return Query(text=question.text)
    from PIL import Image

    with Image.open(question.image) as picture:
        picture.load()
        return Query(text=question.text or None, image=picture)


def _query_data(question: MiningQuestion) -> dict[str, Any]:
    return {
        "id": question.id,
        "text": question.text,
        "image": question.image,
        "labelled": list(question.positives),
    }


def _is_done(question: MiningQuestion, file: LineFile, target: Path) -> bool:
    line = file.done.get(question.id)
    if line is None:
        return False
    for key, now in _query_data(question).items():
        before = line["query"].get(key)
        if before != now:
            raise ValueError(
                f"{target} has question {question.id!r} with another {key}: {before!r}, now {now!r}. "
                "Give it another id, or choose another output."
            )
    return True


def _plain(candidate: Candidate) -> str:
    """What a candidate reads like; ``""`` where that is too little to tell pages apart."""
    text = " ".join(candidate.record.text.split()).lower()
    return text if len(text) >= SAME_TEXT_CHARS else ""


def judge_data(judge: Reranker | None, mode: str) -> dict[str, Any]:
    """What changes a judge's scores, so that no run goes on with another judge's lines."""
    if judge is None:
        return {}
    settings: Any = getattr(judge, "settings", None)
    if settings is None:
        return {"fingerprint": getattr(judge, "fingerprint", "")}
    from mmrag.rerank.modes import load_mode

    client: Any = getattr(judge, "client", None)
    return {
        "model": client.model_name(),
        "think_tokens": settings.think_tokens,
        "images": settings.images,
        "fingerprint": load_mode(mode, settings).fingerprint,
    }
