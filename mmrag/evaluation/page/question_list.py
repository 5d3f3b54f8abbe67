"""The list of a report's questions: what came first for each, what was answered, and the pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mmrag.evaluation.figures import SCOPE_TITLES, groups
from mmrag.evaluation.pack import PageKey, Question
from mmrag.evaluation.page.markup import Html, join, tag
from mmrag.evaluation.page.pictures import MOST_QUESTIONS, MOST_QUOTES, PagePictures, figures_of
from mmrag.evaluation.page.rows import ANSWER_CLASSES, METRIC, NOT_FOUND, AnswerRow, Row, ScopeRow, is_right

SHOWN_RANKS = 5
"""Pages of a ranking that are listed."""
MOST_DETAILS = 1000
"""Questions with details, failures first: a larger file opens slowly."""
LONGEST_TEXT = 700
"""Characters of an answer or a quote."""
STAGES = {
    "vectors": "vectors",
    "text": "words",
    "document": "document",
    "fused": "fused",
    "rerank": "reranker",
}
"""Stages whose scores are shown, and their titles."""

CAUSES = {
    "right": "right page",
    "page": "another page of the right document",
    "document": "another document",
    "": "nothing",
}
"""What came first, in words."""

FILTERS = {
    "": "all",
    "failure": "failures",
    "missed": f"right page {NOT_FOUND}",
    "document": f"{CAUSES['document']} came first",
    "page": f"{CAUSES['page']} came first",
    "answer-wrong": "answer wrong",
    "answer-silent": "silent, though there is an answer",
    "answer-unfounded": "answered without grounds",
    "better": "better than the earlier report",
    "worse": "worse than the earlier report",
}
"""Choices of what is listed."""

ORDERS = {
    "severity": "failures first",
    "position": "order of the pack",
    "pack": "rank, whole pack",
    "document": "rank, within document",
    "gain": "change",
}
"""Choices of order."""

_ANSWER_FILTERS = {
    "wrong": "answer-wrong",
    "silent": "answer-silent",
    "answered without grounds": "answer-unfounded",
}


def question_list(rows: Sequence[Row], pictures: PagePictures) -> Html:
    """Return the controls and the rows, failures first."""
    order = sorted(range(len(rows)), key=lambda position: rows[position].severity, reverse=True)
    members = {name: set(positions) for name, positions in groups([row.question for row in rows])}
    names = [name for name, positions in members.items() if 0 < len(positions) < len(rows)]
    picture_positions = [position for position in order if rows[position].is_failure][:MOST_QUESTIONS]
    items = []
    for number, position in enumerate(order):
        own_groups = [str(at) for at, name in enumerate(names) if position in members[name]]
        figures = figures_of(rows[position], pictures) if position in picture_positions else None
        items.append(_item(rows[position], position, own_groups, figures, with_details=number < MOST_DETAILS))
    return join(
        [
            _controls(rows, names),
            _heads(rows),
            tag("ol", *items, id="rows"),
            *_limits(rows, picture_positions, pictures),
        ]
    )


def _controls(rows: Sequence[Row], names: Sequence[str]) -> Html:
    kinds = {kind for row in rows for kind in kinds_of(row)}
    has_gains = any(row.search is not None and row.search.gain is not None for row in rows)
    scopes = {scope for row in rows for scope in row.searches}
    orders = {
        key: title
        for key, title in ORDERS.items()
        if (key in scopes if key in SCOPE_TITLES else key != "gain" or has_gains)
    }
    filters = {key: title for key, title in FILTERS.items() if not key or key in kinds}
    search = tag(
        "input", id="words", type="search", placeholder="words of the question or a file", autocomplete="off"
    )
    return tag(
        "form",
        tag("label", tag("span", "Search"), search),
        tag("label", tag("span", "Show"), _select("kind", filters)),
        tag(
            "label",
            tag("span", "Group"),
            _select("group", {"": "all", **{str(n): name for n, name in enumerate(names)}}),
        ),
        tag("label", tag("span", "Order"), _select("order", orders)),
        tag("output", f"{len(rows)} questions", id="count", aria_live="polite"),
        id="controls",
        hidden=True,
    )


def _select(id: str, choices: Mapping[str, str]) -> Html:
    return tag("select", *(tag("option", title, value=key) for key, title in choices.items()), id=id)


def _heads(rows: Sequence[Row]) -> Html:
    titles = ["Question", *(_column_titles(rows))]
    return tag(
        "div", *(tag("span", title) for title in titles), class_="row-heads row-grid", aria_hidden="true"
    )


def _column_titles(rows: Sequence[Row]) -> Iterator[str]:
    if any(row.searches for row in rows):
        yield from ("rank, pack", "rank, document")
        if any(row.search is not None and row.search.gain is not None for row in rows):
            yield "change"
    if any(row.answers for row in rows):
        yield "answer"


def _limits(rows: Sequence[Row], picture_positions: Sequence[int], pictures: PagePictures) -> Iterator[Html]:
    failures = sum(row.is_failure for row in rows)
    if failures > len(picture_positions):
        yield tag(
            "p", f"Pictures: of the first {len(picture_positions)} of {failures} failures.", class_="hint"
        )
    if pictures.is_full:
        yield tag("p", "Some pictures are left out: the file would be too large.", class_="hint")
    if len(rows) > MOST_DETAILS:
        yield tag("p", f"Details: of the first {MOST_DETAILS} of {len(rows)} questions.", class_="hint")


def kinds_of(row: Row) -> list[str]:
    """Return the keys of `FILTERS` that a row belongs to."""
    kinds = ["failure"] if row.is_failure else []
    search = row.search
    if search is not None:
        kinds += ["missed"] if search.rank is None else []
        kinds += [row.cause] if row.cause in ("page", "document") else []
        if search.gain:
            kinds.append("better" if search.gain > 0 else "worse")
    if row.answer is not None and row.answer.kind in _ANSWER_FILTERS:
        kinds.append(_ANSWER_FILTERS[row.answer.kind])
    return kinds


def _item(
    row: Row, position: int, own_groups: Sequence[str], figures: Html | None, *, with_details: bool
) -> Html:
    question, search = row.question, row.search
    ranks = {scope: search.rank or 99 for scope, search in row.searches.items()}
    severity = row.severity
    summary = tag(
        "summary",
        tag(
            "span",
            tag("b", question.question),
            tag("span", ", ".join(question.docs), class_="hint"),
            class_="asked",
        ),
        *_cells(row),
        class_="row-grid",
    )
    return tag(
        "li",
        tag(
            "details", summary, tag("div", *_details(row), figures, class_="inside") if with_details else None
        ),
        data_position=position,
        data_severity=1000 * severity[0] + 10 * severity[1] + int(severity[2]),
        data_pack=ranks.get("pack", 0),
        data_document=ranks.get("document", 0),
        data_gain="" if search is None or search.gain is None else f"{search.gain:.4f}",
        data_kinds=" ".join(kinds_of(row)),
        data_groups=" ".join(own_groups),
    )


def _cells(row: Row) -> Iterator[Html]:
    if row.searches:
        for scope, title in SCOPE_TITLES.items():
            search = row.searches[scope]
            yield _cell(
                title,
                rank_text(search.rank),
                "good" if search.rank == 1 else "bad" if search.rank is None else "fair",
            )
        if row.search is not None and row.search.gain is not None:
            gain = row.search.gain
            yield _cell(
                "change",
                f"{gain:+.2f}" if gain else "0",
                "good" if gain > 0 else "bad" if gain < 0 else "same",
            )
    if row.answer is not None:
        good = ANSWER_CLASSES.index(row.answer.kind) < 2
        fair = row.answer.kind == "not compared"
        yield _cell("answer", row.answer.kind, "good" if good else "same" if fair else "bad")


def _cell(title: str, content: str, kind: str) -> Html:
    return tag("span", tag("span", f"{title}: ", class_="cell-title"), content, class_=f"cell {kind}")


def rank_text(rank: int | None) -> str:
    """Return a rank as people read it."""
    return "not in 10" if rank is None else str(rank)


# ---- details -----------------------------------------------------------------------------------------


def _details(row: Row) -> Iterator[Html]:
    yield tag("dl", *_facts(row.question), class_="facts")
    for scope, search in row.searches.items():
        yield _ranking(row.question, scope, search)
    for scopes, answer in _different_answers(row):
        yield _answer(row.question, " and ".join(SCOPE_TITLES[scope] for scope in scopes), answer)


def _different_answers(row: Row) -> list[tuple[list[str], AnswerRow]]:
    """Return the answers with their scopes: one where both scopes have the same words and quotes."""
    answers: list[tuple[list[str], AnswerRow]] = []
    for scope, answer in row.answers.items():
        twins = [scopes for scopes, earlier in answers if _shown_part(earlier) == _shown_part(answer)]
        if twins:
            twins[0].append(scope)
        else:
            answers.append(([scope], answer))
    return answers


def _shown_part(answer: AnswerRow) -> tuple[object, ...]:
    quotes = [(quote.quote, quote.page_key) for quote in answer.line.quotes[:MOST_QUOTES]]
    return answer.kind, answer.line.text, answer.line.note, quotes


def _facts(question: Question) -> Iterator[Html]:
    pages = (
        ", ".join(page_text(key) for key in sorted(question.evidence))
        or "none: the documents do not answer it"
    )
    facts = {
        "Evidence": pages,
        "Accepted": " · ".join(question.answers),
        "Kind": ", ".join([*question.evidence_types, *filter(None, [question.kind])]),
        "From": question.source,
        "Written by": question.written_by,
        "Id": question.id,
    }
    for title, content in facts.items():
        if content:
            yield tag("div", tag("dt", title), tag("dd", content))


def page_text(key: PageKey) -> str:
    """Return a page as people name it, counted from 1; a whole file by its name."""
    return key[0] if key[1] < 0 else f"{key[0]}, page {key[1] + 1}"


def _ranking(question: Question, scope: str, search: ScopeRow) -> Html:
    stages = [stage for stage in STAGES if any(stage in scores for scores in search.scores)]
    head = tag(
        "tr",
        *(tag("th", title, scope="col") for title in ("rank", "page", *(STAGES[stage] for stage in stages))),
    )
    ranks = sorted({*range(1, min(SHOWN_RANKS, len(search.ranking)) + 1), *filter(None, [search.rank])})
    body = [_ranking_row(question, search, rank, stages) for rank in ranks]
    note = ""
    if search.plain_rank is not None and search.plain_rank != search.rank:
        note = f" Without the reranker the right page is at rank {search.plain_rank}."
    title = tag("h4", f"{SCOPE_TITLES[scope]}: nDCG@5 {search.figures[METRIC]:.2f}.{note}")
    if not body:
        return join([title, tag("p", "Nothing was found.", class_="hint")])
    return join(
        [
            title,
            tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll", tabindex=0),
        ]
    )


def _ranking_row(question: Question, search: ScopeRow, rank: int, stages: Sequence[str]) -> Html:
    key = search.ranking[rank - 1]
    scores = search.scores[rank - 1] if rank <= len(search.scores) else {}
    is_evidence = is_right(question, key)
    mark = " ✓ right" if is_evidence else "" if key[0] in question.docs else " · another document"
    cells = [
        tag("td", f"{scores[stage]:.2f}" if stage in scores else "", class_="number") for stage in stages
    ]
    return tag(
        "tr",
        tag("td", rank, class_="number"),
        tag("td", page_text(key), mark, class_="page"),
        *cells,
        class_="good" if is_evidence else None,
    )


def _answer(question: Question, scope_title: str, answer: AnswerRow) -> Html:
    line = answer.line
    confidence = "" if line.confidence is None else f", confidence {line.confidence:.2f}"
    title = tag("h4", f"Answer, {scope_title}: {answer.kind}{confidence}")
    quotes = [
        tag(
            "li",
            tag("q", _short(quote.quote)),
            tag("span", f" {page_text(quote.page_key)}" if quote.page >= 0 else "", class_="hint"),
            tag("span", " ✓ right page", class_="good-text") if is_right(question, quote.page_key) else None,
        )
        for quote in line.quotes[:MOST_QUOTES]
    ]
    note = tag("p", line.note, class_="hint") if line.note else None
    return join(
        [title, tag("p", _short(line.text), class_="said"), tag("ol", *quotes, class_="quotes"), note]
    )


def _short(content: str) -> str:
    return content if len(content) <= LONGEST_TEXT else content[:LONGEST_TEXT] + "…"
