"""The pack of documents that look alike: families whose members differ in little but what they are about.

A search must find the right document before the right page. Reports, contracts, manuals, minutes and
inspections are kept as archives keep them: under telling names or opaque ones, with titles that are right,
missing or wrong.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from packs import alike_contracts, alike_manuals, alike_meetings, alike_reports, alike_sites
from packs.book import LETTER, SANS, SERIF, VERA
from packs.folio import Call, Draft, Fact, Manner
from packs.grid import Look
from packs.names import ROOTS, Kit
from packs.scanner import scan
from packs.truth import Drawing, Query

STREAM = 2  # added to the seed: the other packs have streams of their own
COMPANIES, PARTNERS, BRANDS, SITES = slice(0, 4), slice(4, 9), slice(9, 12), slice(12, 18)
BUYER, BOARD = 18, 19  # positions in the list of names


@dataclass(frozen=True)
class Plan:
    """One document.

    Attributes:
        family: "report", "contract", "manual", "minutes" or "site".
        place: within its family: company and period, partner and year, appliance and version, month, or site.
        file: its name, with {root} and {lower} for whom it is about.
        manner: how it looks and is kept.
        scanner: it went through, if any.
    """

    family: str
    place: tuple[int, ...]
    file: str
    manner: Manner
    scanner: str = ""


ROWS, BOOK, GRID = Look(SANS, 9, "rows"), Look(SERIF, 9.5, "book"), Look(SANS, 8.5, "grid")
ZEBRA = Look(VERA, 8, "zebra", dark=True)
HOUSES = (
    Manner(SERIF, 10.5, BOOK, LETTER, has_outline=True, is_airy=True),
    Manner(SANS, 10, ROWS, foot="named"),
    Manner(SANS, 10, GRID, title="none", is_airy=True),
    Manner(VERA, 9, ZEBRA, LETTER, title="program", foot="none"),
)
REPORT_FILES = (
    ("2024_Q1_{root}.pdf", "2024_Q2_{root}.pdf", "2024_Q3_{root}.pdf", "2024_Q4_{root}.pdf"),
    (
        "{lower}-q1-2024.pdf",
        "{lower}-interim-report-2.pdf",
        "{lower}-q3-2024.pdf",
        "annual_results_final.pdf",
    ),
    ("doc_7f3a.pdf", "doc_81c0.pdf", "doc_b2e4.pdf", "doc_c95d.pdf"),
    ("report (1).pdf", "{root} 4Q24.pdf", "report (3).pdf", "0000917225-25-000117.pdf"),
)
PERIODS = (
    *(((2024, 1), (2024, 2), (2024, 3), (2024, 4)),) * 2,
    *(((2024, 3), (2024, 4), (2025, 1), (2025, 2)),) * 2,
)
STALE = ((0, 2), (1, 3), (3, 1))  # reports whose file has the title of the one before
REPORTS = tuple(
    Plan(
        "report",
        (company, *PERIODS[company][n]),
        REPORT_FILES[company][n],
        replace(HOUSES[company], title="stale")
        if (company, n) in ((0, 2), (1, 3), (3, 1))
        else HOUSES[company],
    )
    for company in range(4)
    for n in range(4)
)
LEGAL, TYPED = Manner(SERIF, 11.5, BOOK, foot="page"), Manner(SANS, 10, GRID, title="none", is_airy=True)
CONTRACTS = (
    Plan("contract", (0, 2021), "Supply contract {root} 2021.pdf", LEGAL),
    Plan("contract", (0, 2024), "contract_signed_v3.pdf", replace(LEGAL, title="program")),
    Plan("contract", (1, 2022), "scan0042.pdf", TYPED, "office"),
    Plan("contract", (1, 2025), "{lower}_2025_supply.pdf", TYPED),
    Plan("contract", (2, 2023), "SC-2023-{root}.pdf", replace(LEGAL, has_outline=True, is_airy=True)),
    Plan("contract", (3, 2023), "doc_19aa.pdf", replace(TYPED, title="stale")),
    Plan("contract", (4, 2024), "IMG_20240611_contract.pdf", replace(LEGAL, title="stale")),
)
GUIDE = Manner(SANS, 11.5, ROWS, has_outline=True, foot="named")
LEAFLET = Manner(VERA, 9.5, ZEBRA, is_airy=True)
MANUALS = (
    Plan("manual", (0, 0), "{root}_DW-480_manual_v1.0.pdf", GUIDE),
    Plan("manual", (0, 1), "{root}_DW-480_manual_v1.1.pdf", replace(GUIDE, title="stale")),
    Plan("manual", (0, 2), "{root}_DW-480_manual_v2.0.pdf", GUIDE),
    Plan("manual", (1, 0), "manual.pdf", LEAFLET),
    Plan("manual", (1, 1), "manual_neu.pdf", replace(LEAFLET, title="stale")),
    Plan("manual", (1, 2), "CM12-UM-EN-20.pdf", LEAFLET),
    Plan("manual", (2, 0), "doc_0a6e.pdf", replace(GUIDE, title="none", has_outline=False)),
    Plan("manual", (2, 1), "doc_0a71.pdf", replace(GUIDE, title="none", is_airy=True)),
    Plan("manual", (2, 2), "{lower} ad-90 rev 2.pdf", replace(GUIDE, is_airy=True)),
)
NOTES = Manner(SERIF, 10.5, BOOK, foot="none")
LONG = Manner(SANS, 11, ROWS, title="program", is_airy=True)
MINUTES = (
    Plan("minutes", (2024, 11), "minutes-2024-11.pdf", NOTES),
    Plan("minutes", (2024, 12), "minutes-2024-12.pdf", LONG),
    Plan("minutes", (2025, 1), "scan0051.pdf", NOTES, "worn"),
    Plan("minutes", (2025, 2), "minutes-2025-02.pdf", replace(NOTES, title="stale")),
    Plan("minutes", (2025, 3), "minutes-2025-03.pdf", LONG),
    Plan("minutes", (2025, 4), "board_apr.pdf", NOTES),
    Plan("minutes", (2025, 5), "scan0058.pdf", LONG, "fine"),
    Plan("minutes", (2025, 6), "Document1.pdf", replace(LONG, title="none")),
)
FORM = Manner(SANS, 10, GRID, foot="named")
INSPECTIONS = (
    Plan("site", (0,), "inspection_{lower}.pdf", FORM),
    Plan("site", (1,), "scan0063.pdf", FORM, "office"),
    Plan("site", (2,), "{root} fire safety.pdf", replace(FORM, is_airy=True)),
    Plan("site", (3,), "doc_e411.pdf", replace(FORM, title="program")),
    Plan("site", (4,), "scan0064.pdf", replace(FORM, is_airy=True), "colour"),
    Plan("site", (5,), "report_b_final2.pdf", replace(FORM, title="stale")),
)
PLANS = (*REPORTS, *CONTRACTS, *MANUALS, *MINUTES, *INSPECTIONS)
LAST_CONTRACTS = {place: max(p.place[1] for p in CONTRACTS if p.place[0] == place) for place in range(5)}


def make(seed: int, number: int) -> Drawing:
    """The document of a plan."""
    plan, seed = PLANS[number], seed + STREAM
    roots = _roots(seed)
    root = _root(plan, roots)
    name = plan.file.format(root=root, lower=root.lower())
    kit = Kit(seed, number, name)
    draft = _draft(kit, plan, roots, seed)
    queries = _ask(kit, draft, number)
    folio = draft.folio
    drawing = Drawing(name, folio.finish(), folio.book.sizes, queries, draft.kind, "Text")
    return scan(drawing, plan.scanner, kit) if plan.scanner else drawing


def _roots(seed: int) -> list[str]:
    """Names of this pack's companies, partners, brands, sites, buyer and board, in this order."""
    return random.Random(f"{seed}:alike").sample(ROOTS, BOARD + 1)


def _root(plan: Plan, roots: Sequence[str]) -> str:
    """Whom a document is about."""
    if plan.family == "minutes":
        return roots[BOARD]
    part = {"report": COMPANIES, "contract": PARTNERS, "manual": BRANDS, "site": SITES}[plan.family]
    return roots[part][plan.place[0]]


def _draft(kit: Kit, plan: Plan, roots: Sequence[str], seed: int) -> Draft:
    """The document written, by its family."""
    root, manner = _root(plan, roots), plan.manner
    if plan.family == "report":
        company, year, quarter = plan.place
        firm = alike_reports.company(seed, company, root)
        is_newest = (year, quarter) == PERIODS[company][-1]
        event = REPORTS.index(plan)
        return alike_reports.report(kit, firm, manner, year, quarter, event, is_newest)
    if plan.family == "contract":
        position, year = plan.place
        partner = alike_contracts.party(seed, position, root)
        is_only = sum(other.place[0] == position for other in CONTRACTS) == 1
        return alike_contracts.contract(
            kit, f"{roots[BUYER]} Machines Ltd", partner, manner, year, CONTRACTS.index(plan), is_only,
            year == LAST_CONTRACTS[position],
        )  # fmt: skip
    if plan.family == "manual":
        return alike_manuals.manual(kit, root, plan.place[0], manner, plan.place[1], seed)
    if plan.family == "minutes":
        board = f"{root} Allotment Association"
        is_newest = plan is MINUTES[-1]
        return alike_meetings.minutes(kit, board, manner, *plan.place, MINUTES.index(plan), is_newest)
    return alike_sites.inspection(kit, root, manner, plan.place[0])


def _ask(kit: Kit, draft: Draft, number: int) -> list[Query]:
    """Questions that name the document, that want the newest, that name nothing, and that nothing answers."""
    facts = [fact for fact in draft.folio.facts if fact.ask.named]
    newest = 0 if not draft.latest else 3 if draft.kind == "Report" or number % 2 == 0 else 2
    named = 1 if newest else 3 if draft.kind == "Report" and number % 2 else 2
    chosen = kit.rng.sample(facts, named + newest)
    found = [_say(kit, fact, draft.calls, "named") for fact in chosen[:named]]
    found += [_say(kit, fact, draft.latest, "latest") for fact in chosen[named:]]
    if number % 8 < 5:
        alone = [fact for fact in draft.folio.facts if fact.ask.unnamed]
        found += [replace(f.query, text=kit.pick(f.ask.unnamed), naming="unnamed") for f in alone[:1]]
    if number % 4 == 0 and draft.folio.sums:
        found.append(_say(kit, kit.pick(draft.folio.sums), draft.calls, "named"))
    if number % 3 == 0:
        text = _fill(kit.pick(draft.absent), kit.pick(draft.calls))
        found.append(Query(text, kind="unanswerable", naming="named"))
    return list({query.text: query for query in found}.values())


def _say(kit: Kit, fact: Fact, calls: Sequence[Call], naming: str) -> Query:
    """The query of a fact, in one wording and with one way to call the document."""
    text = _fill(kit.pick(fact.ask.named), kit.pick(calls))
    return replace(fact.query, text=text, naming=naming)


def _fill(template: str, call: Call) -> str:
    text = template.format(doc=call.doc, who=call.who, when=call.when)
    return " ".join((text[0].upper() + text[1:]).split())
