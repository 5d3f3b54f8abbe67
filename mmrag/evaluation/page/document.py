"""The page of a report: one HTML file that needs nothing else, to see why figures are what they are.

Decisions taken here:

* The file holds its style, its script and its pictures. Its content security policy names both by their
  digests and allows no other script, no other style and no connection: what a pack's texts say is shown,
  never run.
* Without the script everything is there; the script filters and orders the questions.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from mmrag.evaluation.answer_lines import AnswerLine, Key
from mmrag.evaluation.figures import SCOPE_TITLES, SCOPES
from mmrag.evaluation.pack import Pack
from mmrag.evaluation.page.charts import change_plot, stacked_bar, whisker
from mmrag.evaluation.page.markup import Html, join, tag
from mmrag.evaluation.page.pictures import DrawPage, PagePictures
from mmrag.evaluation.page.question_list import CAUSES, question_list
from mmrag.evaluation.page.rows import (
    ANSWER_CLASSES,
    METRIC,
    NOT_FOUND,
    RANK_CLASSES,
    Row,
    StageScores,
    gather_rows,
)
from mmrag.evaluation.report import COLUMNS, metric_title
from mmrag.files import atomic_write

RANK_STYLES = {name: f"rank{number}" for number, (name, _) in enumerate(RANK_CLASSES)} | {NOT_FOUND: "missed"}
CAUSE_STYLES = {
    CAUSES["right"]: "rank0",
    CAUSES["page"]: "rank3",
    CAUSES["document"]: "missed",
    CAUSES[""]: "nothing",
}
ANSWER_STYLES = dict(
    zip(ANSWER_CLASSES, ("rank0", "rank1", "nothing", "rank3", "missed", "worst"), strict=True)
)
ANSWER_FIGURES = {
    "text": "answer's text holds an accepted string",
    "first_quote": "first quote holds an accepted string",
    "three_quotes": "one of the first three quotes does",
    "number_text": "number of the text within 1 %",
    "first_page": "first citation on a right page",
    "any_page": "some citation on a right page",
    "answered": "answered, of the answerable",
    "silent": "silent, of the unanswerable",
    "false_answer": "answered, and nothing right",
    "joint_words": "right, and box recall of words at least .6",
    "joint_area": "right, and box recall of areas at least .6",
}
"""Measures of answers that the page shows, and their titles."""


def save_html(
    path: str | Path,
    pack: Pack,
    data: Mapping[str, Any],
    *,
    lines: Mapping[Key, AnswerLine] | None = None,
    scores: StageScores | None = None,
    earlier: Mapping[str, Any] | None = None,
    draw: DrawPage | None = None,
) -> None:
    """Write the page of a report.

    Args:
        path: of the file.
        pack: whose questions were measured.
        data: the report as `Report.to_dict` and ``mmrag evaluate --to`` give it.
        lines: answers, where they were measured.
        scores: by stage, of each page of a ranking.
        earlier: the report that ``data["against"]`` compares with.
        draw: draws a page for the pictures of failures; None draws none.
    """
    page = report_page(pack, data, lines=lines, scores=scores, earlier=earlier, draw=draw)
    with atomic_write(path) as file:
        file.write(page)


def report_page(
    pack: Pack,
    data: Mapping[str, Any],
    *,
    lines: Mapping[Key, AnswerLine] | None = None,
    scores: StageScores | None = None,
    earlier: Mapping[str, Any] | None = None,
    draw: DrawPage | None = None,
) -> str:
    """Return the page of a report as HTML; see `save_html`."""
    rows = gather_rows(pack, data, lines=lines, scores=scores, earlier=earlier)
    name = str(data.get("pack") or (data.get("answers") or {}).get("pack") or pack.path.resolve().name)
    style, script = (_resource(file) for file in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{name}: evaluation"),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag("a", "To the questions", href="#questions", class_="skip"),
        tag("main", *_sections(name, data, rows, PagePictures(draw))),
        tag("script", Html(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _resource(name: str) -> str:
    return files("mmrag.evaluation.page").joinpath(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _sections(
    name: str, data: Mapping[str, Any], rows: Sequence[Row], pictures: PagePictures
) -> Iterator[Html]:
    yield tag("header", tag("h1", name), tag("p", _subtitle(data, rows), class_="hint"))
    yield _section(
        "Summary",
        tag("p", " ".join(_summary(rows)), class_="lead"),
        tag("div", *_cards(data), class_="cards"),
    )
    if data.get("against"):
        yield _against(data["against"], rows)
    yield _section("What came first", tag("div", *_bars(rows), class_="plots"))
    if data.get("scopes"):
        yield _section("By group", *(_group_table(data, scope) for scope in SCOPES))
    if data.get("answers"):
        yield _section("Answers", *_answer_tables(data))
    yield tag("section", tag("h2", "Questions"), question_list(rows, pictures), id="questions")
    yield tag("footer", tag("p", _FOOTER, class_="hint"))


_FOOTER = (
    "Pages are counted from 1. Ranks are those of the first page that answers the question. Intervals are "
    "95 % bootstrap intervals over questions. On pictures: green, the pack's boxes of the evidence; orange, "
    "of the value; yellow, the words that were quoted. Made by mmrag evaluate --html; "
    "docs/evaluation-pack.md defines each figure."
)


def _section(title: str, *contents: Html | None) -> Html:
    return tag("section", tag("h2", title), *contents)


def _subtitle(data: Mapping[str, Any], rows: Sequence[Row]) -> str:
    answerable = sum(row.question.answerable for row in rows)
    parts = [f"{len(rows)} questions, {answerable} of them with an answer in the documents"]
    human = sum(row.question.human_written for row in rows)
    parts.append(f"{human} written by people" if human else "none marked as written by people")
    made_count = sum(row.question.is_made for row in rows)
    if made_count:
        parts.append(f"{made_count} made by a template or a model")
    rerank = data.get("rerank")
    if rerank:
        parts.append(f"reranking: {rerank.get('mode')}")
    if data.get("seconds"):
        parts.append(f"{1000 * data['seconds']['median']:.0f} ms a search (median)")
    return "; ".join(parts) + "."


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    """Yield sentences on what went wrong and why."""
    search_rows = [row for row in rows if row.search is not None]
    if search_rows:
        scope = SCOPE_TITLES[search_rows[0].scope]
        ranks = [row.search.rank for row in search_rows if row.search is not None]
        first, five = (sum(rank is not None and rank <= last for rank in ranks) for last in (1, 5))
        yield (
            f"Searching the {scope}, a right page came first for {first} of {len(ranks)} questions "
            f"({100 * first / len(ranks):.0f} %), and among the first five for {five}."
        )
        causes = Counter(row.cause for row in search_rows if row.cause != "right")
        if causes:
            words = ", ".join(f"{CAUSES[cause]} for {count}" for cause, count in causes.most_common())
            yield f"Where it did not, what came first was {words}."
    answered = [row.answer.kind for row in rows if row.answer is not None]
    if answered:
        kinds = Counter(answered)
        words = ", ".join(f"{kinds[kind]} {kind}" for kind in ANSWER_CLASSES if kinds[kind])
        yield f"Of {len(answered)} answers: {words}."


def _cards(data: Mapping[str, Any]) -> Iterator[Html]:
    for scope in SCOPES:
        figures = data.get("scopes", {}).get(scope, {}).get("all", {}).get("figures", {})
        for metric in (METRIC, "recall@5"):
            if metric in figures:
                yield _card(f"{metric_title(metric)}, {SCOPE_TITLES[scope]}", figures[metric])
    answers = (data.get("answers") or {}).get("scopes", {})
    for scope in [scope for scope in SCOPES if scope in answers][:1]:
        for measure in ("text", "first_page", "silent"):
            if measure in answers[scope]["all"]:
                yield _card(
                    f"{ANSWER_FIGURES[measure]}, {SCOPE_TITLES[scope]}", answers[scope]["all"][measure]
                )


def _card(title: str, figure: Mapping[str, float]) -> Html:
    return tag(
        "div",
        tag("b", f"{figure['mean']:.3f}"),
        tag("span", f"{figure['low']:.3f} to {figure['high']:.3f}", class_="hint"),
        tag("span", title),
        class_="card",
    )


def _against(against: Mapping[str, Any], rows: Sequence[Row]) -> Html:
    gains = [row.search.gain for row in rows if row.search is not None and row.search.gain is not None]
    plot = None
    if any(gains):
        title = tag("h3", "Change of nDCG@5, a bar for each question, whole pack")
        plot = tag("div", title, change_plot(gains), class_="plot")
    return _section(
        f"Against {against['earlier']}",
        tag("ul", *(tag("li", sentence) for sentence in against["conclusions"]), class_="conclusions"),
        plot,
    )


def _bars(rows: Sequence[Row]) -> Iterator[Html]:
    for scope, title in SCOPE_TITLES.items():
        searches = [row.searches[scope] for row in rows if scope in row.searches]
        if searches:
            classes = Counter(search.rank_class for search in searches)
            counts = {name: classes[name] for name in RANK_STYLES}
            yield stacked_bar(f"Rank of the right page, {title}", counts, RANK_STYLES)
    causes = Counter(CAUSES[row.cause] for row in rows if row.search is not None)
    if causes:
        counts = {name: causes[name] for name in CAUSE_STYLES}
        yield stacked_bar("What came first, whole pack", counts, CAUSE_STYLES)
    for scope, title in SCOPE_TITLES.items():
        kinds = Counter(row.answers[scope].kind for row in rows if scope in row.answers)
        if kinds:
            yield stacked_bar(
                f"Answers, {title}", {name: kinds[name] for name in ANSWER_STYLES}, ANSWER_STYLES
            )


def _group_table(data: Mapping[str, Any], scope: str) -> Html:
    before, tests = _earlier_means(data, "search", scope), _tests(data, "search", scope)
    titles = [
        "group",
        "n",
        metric_title(METRIC),
        "0 to 1",
        *(["change"] if before else []),
        *map(metric_title, COLUMNS),
    ]
    body = []
    for name, group in data["scopes"][scope].items():
        figures = group["figures"]
        change = [_change_cell(tests.get((name, METRIC)))] if before else []
        body.append(
            tag(
                "tr",
                tag("th", name, scope="row"),
                tag("td", group["count"], class_="number"),
                tag("td", _interval(figures[METRIC]), class_="number"),
                tag("td", _whisker(figures[METRIC], before.get((name, METRIC))), class_="whisker-cell"),
                *change,
                *(
                    tag("td", f"{figures[metric]['mean']:.3f}", class_="number")
                    for metric in COLUMNS
                    if metric in figures
                ),
            )
        )
    return _table(SCOPE_TITLES[scope], titles, body)


def _answer_tables(data: Mapping[str, Any]) -> Iterator[Html]:
    for scope, by_group in data["answers"]["scopes"].items():
        before, tests = _earlier_means(data, "answers", scope), _tests(data, "answers", scope)
        titles = ["measure", "n", "mean", "0 to 1", *(["change"] if before else [])]
        figures = by_group["all"]
        body = [
            tag(
                "tr",
                tag("th", title, scope="row"),
                tag("td", figures[measure]["count"], class_="number"),
                tag("td", _interval(figures[measure]), class_="number"),
                tag("td", _whisker(figures[measure], before.get(("all", measure))), class_="whisker-cell"),
                _change_cell(tests.get(("all", measure))) if before else None,
            )
            for measure, title in ANSWER_FIGURES.items()
            if measure in figures
        ]
        yield _table(SCOPE_TITLES[scope], titles, body)


def _table(caption: str, titles: Sequence[str], body: Sequence[Html]) -> Html:
    head = tag("tr", *(tag("th", title, scope="col") for title in titles))
    table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", table, class_="scroll", tabindex=0)


def _interval(figure: Mapping[str, float]) -> Html:
    interval = tag("span", f" {figure['low']:.3f} to {figure['high']:.3f}", class_="hint")
    return join([tag("b", f"{figure['mean']:.3f}"), interval])


def _whisker(figure: Mapping[str, float], before: float | None) -> Html:
    return whisker(figure["mean"], figure["low"], figure["high"], before=before)


def _tests(data: Mapping[str, Any], part: str, scope: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the paired tests by group and metric."""
    differences = (data.get("against") or {}).get("differences", ())
    return {
        (difference["group"], difference["metric"]): difference["test"]
        for difference in differences
        if (difference["part"], difference["scope"]) == (part, scope)
    }


def _earlier_means(data: Mapping[str, Any], part: str, scope: str) -> dict[tuple[str, str], float]:
    return {key: test["before"] for key, test in _tests(data, part, scope).items()}


def _change_cell(test: Mapping[str, Any] | None) -> Html:
    if test is None:
        return tag("td")
    gain = test["gain"]["mean"]
    kind = ("good-text" if gain > 0 else "bad-text") if test["is_real"] else None
    p = f" p {test['p']:.3f}" if test["p"] >= 0.001 else " p < 0.001"
    return tag("td", tag("span", f"{gain:+.3f}", class_=kind), tag("span", p, class_="hint"), class_="number")
