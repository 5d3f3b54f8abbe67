"""What is asked of the samples: six questions of the demo, thirty of the example pack.

A piece of evidence names its page and the phrases it consists of; `samples.evidence` finds their boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from samples import annual_report, deck, energy, form, paper, scan

REPORT, CHARTS, LOG, STUDY, SLIDES, CLAIM = (
    module.NAME for module in (annual_report, energy, scan, paper, deck, form)
)
DOC_TYPES = {
    REPORT: "Annual report",
    CHARTS: "Chart report",
    LOG: "Scanned log",
    STUDY: "Academic paper",
    SLIDES: "Slide deck",
    CLAIM: "Form",
}


@dataclass(frozen=True)
class Evidence:
    """A region of a page: the smallest box around all these phrases."""

    page: int
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """A question of the pack; no evidence means that the documents do not answer it."""

    doc: str
    kind: str
    question: str
    answers: tuple[str, ...] = ("Not answerable",)
    answer_format: str = "None"
    evidence: tuple[Evidence, ...] = field(default=())


def at(page: int, *phrases: str) -> tuple[Evidence, ...]:
    """One region on one page."""
    return (Evidence(page, phrases),)


PACK = (
    Asked(
        REPORT,
        "Table",
        "What were Harborlight's net sales in Asia Pacific in 2023, in millions of dollars?",
        ("142.3",),
        "Float",
        at(3, "Net sales by region", "Asia Pacific 176.2 142.3", "47.3 41.3 35.5 +14.5%"),
    ),
    Asked(
        REPORT,
        "Table",
        "Which of Harborlight's segments grew fastest in 2024?",
        ("Software and Services",),
        "Str",
        at(
            3,
            "Net sales by segment",
            "Environmental Sensing 287.9",
            "Software and Services 143.2 118.6 96.3 +20.7%",
        ),
    ),
    Asked(
        REPORT,
        "Table",
        "How much did Harborlight spend on research and development in 2022?",
        ("71.9", "$71.9 million"),
        "Float",
        at(4, "Research and development 96.4 84.2 71.9"),
    ),
    Asked(
        REPORT,
        "Pure-text",
        "Why did Harborlight have to recall its depth sounders?",
        ("a seal that passed our tests and failed in warm water",),
        "Free",
        at(2, "The recall of 640 depth sounders", "a seal that passed our tests and failed in warm water."),
    ),
    Asked(
        REPORT,
        "Table",
        "How many people does Harborlight employ in Galway?",
        ("742",),
        "Int",
        at(6, "Galway, Ireland Environmental Sensing 742"),
    ),
    Asked(
        CHARTS,
        "Chart",
        "How many gigawatt hours of solar power did the Sundmark Isles produce in 2024?",
        ("1,120", "1120"),
        "Int",
        at(1, "Solar 1,120"),
    ),
    Asked(
        CHARTS,
        "Chart",
        "What did households on the Sundmark Isles pay for a kilowatt hour when prices peaked in 2022?",
        ("29.8", "29.8 cents"),
        "Float",
        at(3, "Average electricity price by customer group, 2015 to 2024", "29.8", "Households 24.6"),
    ),
    Asked(
        CHARTS,
        "Chart",
        "Which part of final energy use goes into transport?",
        ("34%",),
        "Str",
        at(4, "Transport 34%"),
    ),
    Asked(
        CHARTS,
        "Chart",
        "How much battery storage is planned for the end of 2027?",
        ("620", "620 MW"),
        "Int",
        at(4, "620", "2027 plan"),
    ),
    Asked(
        LOG,
        "Table",
        "How strong was the vibration of pump 2 on the day it was stopped?",
        ("7.8 mm/s",),
        "Str",
        at(0, "09 MAR P2 10466 D.P. Vibration 7.8 mm/s at drive end. Pump stopped, reported to Mr Calloway."),
    ),
    Asked(
        LOG,
        "Table",
        "What was the peak water level at Weir Lane during the spring tide of March 1987?",
        ("3.12 m",),
        "Str",
        at(
            1,
            "28 MAR ALL -- D.P. Spring tide with gale. All three pumps running 19 hours. Peak level 3.12 m.",
        ),
    ),
    Asked(
        LOG,
        "Table",
        "How much diesel was left at the pumping station on 31 March 1987?",
        ("2,940", "2,940 litres"),
        "Int",
        at(1, "Closing stock, 31 March 2,940"),
    ),
    Asked(
        LOG,
        "Pure-text",
        "What does Thackray say damaged the impeller?",
        ("cavitation",),
        "Str",
        at(
            2,
            "1. The vanes show pitting on the low pressure side over their whole length. This is cavitation "
            "and not wear from sand.",
        ),
    ),
    Asked(
        LOG,
        "Pure-text",
        "By which date should pumps 1 and 3 be opened and inspected?",
        ("30 September",),
        "Str",
        at(
            2,
            "3. Pumps No. 1 and No. 3 are of the same pattern. They should be opened and inspected before "
            "30 September,",
        ),
    ),
    Asked(
        STUDY,
        "Table",
        "What is the mean yearly retreat of the shore at The Saltings?",
        ("1.53", "1.53 m"),
        "Float",
        at(2, "M4 The Saltings Dune sand 1.53 0.73 4.06"),
    ),
    Asked(
        STUDY,
        "Table",
        "How far did the shoreline at transect M3 retreat in 1997?",
        ("0.45", "0.45 m"),
        "Float",
        at(3, "1997 132 0.09 1.24 0.45"),
    ),
    Asked(
        STUDY,
        "Pure-text",
        "Why do storm hours say less about till cliffs than about dunes?",
        ("a cliff that has slumped is protected by its own debris for a year or two",),
        "Free",
        at(
            1,
            "On the till cliffs it is lower, since a cliff that has slumped is protected by its own debris "
            "for a year or two.",
        ),
    ),
    Asked(
        STUDY,
        "Figure",
        "Which transect is the northernmost on the map of the Marran coast?",
        ("Kittle Head", "M1"),
        "Str",
        at(0, "M1 Kittle Head", "Figure 1. The Marran coast and the six transects, M1 to M6. Land"),
    ),
    Asked(
        SLIDES,
        "Table",
        "How heavy is the old TideSense 2?",
        ("6.4 kg",),
        "Str",
        at(3, "TideSense 2", "Weight 6.4 kg 3.9 kg"),
    ),
    Asked(
        SLIDES,
        "Figure",
        "When do orders for TideSense 3 open?",
        ("Oct 14", "October 14, 2025"),
        "Str",
        at(5, "Oct 14 Orders open"),
    ),
    Asked(
        SLIDES,
        "Chart",
        "How many TideSense 3 sensors are planned for aquaculture in the first year?",
        ("1,150", "1150"),
        "Int",
        at(6, "Aquaculture 1,150"),
    ),
    Asked(
        SLIDES,
        "Pure-text",
        "What does the data plan of TideSense 3 cost?",
        ("$25 a month",),
        "Str",
        at(4, "Data plan", "$25 a month for each sensor;"),
    ),
    Asked(
        CLAIM,
        "Generalized-text",
        "Which cause of damage is ticked on Eleanor Marchetti's claim?",
        ("Burst pipe",),
        "Str",
        at(0, "Cause (tick one)", "Burst pipe", "Other"),
    ),
    Asked(
        CLAIM,
        "Table",
        "How much does Marchetti Boat Joinery claim after the excess?",
        ("5,770.50",),
        "Float",
        at(1, "Amount claimed 5,770.50"),
    ),
    Asked(
        CLAIM,
        "Generalized-text",
        "When will the loss adjuster visit the workshop?",
        ("4 December 2024",),
        "Str",
        at(1, "Loss adjuster visit 4 December 2024, 10:30"),
    ),
    Asked(REPORT, "", "How much was Harborlight's chief executive paid in 2024?"),
    Asked(CHARTS, "", "How much nuclear power was fed into the Sundmark grid in 2024?"),
    Asked(LOG, "", "What did the new impeller for pump 2 cost?"),
    Asked(SLIDES, "", "What is the price of the TideSense 3 Offshore in euros?"),
    Asked(CLAIM, "", "On which day did Fairholm Mutual pay claim FM-2024-08317?"),
)

# (kind, question, one answer a part, evidence by document, extra that is needed)
DEMO: tuple[tuple[str, str, tuple[str, ...], tuple[tuple[str, Evidence], ...], str], ...] = (
    (
        "table",
        "What were the net sales of Environmental Sensing in 2024?",
        ("287.9",),
        ((REPORT, Evidence(3, ("Net sales by segment", "Environmental Sensing 287.9 241.5 208.7 +19.2%"))),),
        "",
    ),
    (
        "labelled value",
        "When will the loss adjuster visit the workshop?",
        ("4 December 2024, 10:30",),
        ((CLAIM, Evidence(1, ("Loss adjuster visit 4 December 2024, 10:30",))),),
        "",
    ),
    (
        "sentence",
        "What caused the recall of the depth sounders?",
        ("a seal that passed our tests and failed in warm water",),
        (
            (
                REPORT,
                Evidence(
                    2,
                    (
                        "The recall of 640 depth sounders",
                        "The cause was a seal that passed our tests and failed in warm water.",
                    ),
                ),
            ),
        ),
        "",
    ),
    (
        "scan",
        "What is the part number of the new impeller fitted to pump 2?",
        ("AK 4471",),
        ((LOG, Evidence(0, ("14 MAR P2 10466 D.P. New impeller fitted, part no. AK 4471.",))),),
        "ocr",
    ),
    (
        "computed",
        "What is the sum of net sales in Europe and Asia Pacific in 2024?",
        ("268.4", "176.2"),
        (
            (REPORT, Evidence(3, ("Net sales by region", "Europe 268.4"))),
            (REPORT, Evidence(3, ("Net sales by region", "Asia Pacific 176.2"))),
        ),
        "server",
    ),
    (
        "unanswerable",
        "How many patents did Harborlight Instruments hold at the end of 2024?",
        (),
        (),
        "",
    ),
)
