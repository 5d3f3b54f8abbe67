"""Follow-up questions without a model: is the page found with the words of the question before, and without?

    python benchmarks/follow_ups.py

Conversations over the sample documents, written for this. Every second question leans on the first, or asks
of something else altogether ("switch"), where kept words could only harm. Recall at 1 and at 3 pages of the
evidence page, reranked as by default.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from mmrag import DocumentQA, MemoryIndex
from mmrag.conversation.rewriting import WordKeeper, leans_on_history
from mmrag.samples import sample_documents

HARBOR, ENERGY, EROSION = "harbor-annual-report-2024", "energy-outlook-charts", "coastal-erosion-paper"
DECK, CLAIM, LOG = "product-launch-deck", "insurance-claim-form", "maintenance-log-scan"

FOLLOW_UPS = [
    ("How much did Harborlight spend on research and development in 2023?", "And in 2022?", HARBOR, 4),
    ("What were Harborlight's net sales in Asia Pacific in 2023?", "What about Europe?", HARBOR, 3),
    ("What were Harborlight's net sales in Asia Pacific in 2023?", "And a year later?", HARBOR, 3),
    ("Why did Harborlight have to recall its depth sounders?", "When did that happen?", HARBOR, 2),
    ("How many people does Harborlight employ in Galway?", "And in all?", HARBOR, 6),
    ("How many people does Harborlight employ in Galway?", "Which other sites are there?", HARBOR, 6),
    ("Which of Harborlight's segments grew fastest in 2024?", "By how much?", HARBOR, 3),
    ("How much solar power did the Sundmark Isles produce in 2024?", "And in 2022?", ENERGY, 1),
    ("How much solar power did the Sundmark Isles produce in 2024?", "How much wind was it?", ENERGY, 1),
    ("What did households on the Sundmark Isles pay for a kilowatt hour in 2022?", "And in 2024?", ENERGY, 3),
    ("Which part of final energy use goes into transport?", "And into heating?", ENERGY, 4),
    ("How much battery storage is planned for the end of 2027?", "How much was there in 2024?", ENERGY, 4),
    ("How strong was the vibration of pump 2 when it was stopped?", "On which day was that?", LOG, 0),
    ("What was the peak water level at Weir Lane in the spring tide?", "When was it measured?", LOG, 1),
    ("What does Thackray say damaged the impeller?", "What does he want done?", LOG, 2),
    ("By which date should pumps 1 and 3 be inspected?", "Why?", LOG, 2),
    ("What is the mean yearly retreat of the shore at The Saltings?", "And at Kittle Head?", EROSION, 2),
    ("How far did the shoreline at transect M3 retreat in 1997?", "And in 1998?", EROSION, 3),
    (
        "Which transect is the northernmost on the map of the Marran coast?",
        "And the southernmost?",
        EROSION,
        0,
    ),
    ("Why do storm hours say less about till cliffs than about dunes?", "How long does it last?", EROSION, 1),
    ("How heavy is the old TideSense 2?", "And its successor?", DECK, 3),
    ("When do orders for TideSense 3 open?", "When is it shipped?", DECK, 5),
    (
        "How many TideSense 3 sensors are planned for aquaculture in the first year?",
        "And for ports?",
        DECK,
        6,
    ),
    ("What does the data plan of TideSense 3 cost?", "And the sensor?", DECK, 4),
    (
        "Which cause of damage is ticked on Eleanor Marchetti's claim?",
        "On which day did it happen?",
        CLAIM,
        0,
    ),
    ("How much does Marchetti Boat Joinery claim after the excess?", "How high is that excess?", CLAIM, 1),
    ("When will the loss adjuster visit the workshop?", "What is their name?", CLAIM, 1),
]
SWITCHES = [
    ("How much did Harborlight spend on research and development in 2023?", 23, CLAIM, 1),
    ("How heavy is the old TideSense 2?", 3, HARBOR, 2),
    ("When will the loss adjuster visit the workshop?", 7, ENERGY, 1),
    ("Which of Harborlight's segments grew fastest in 2024?", 14, LOG, 2),
    ("What is the mean yearly retreat of the shore at The Saltings?", 21, DECK, 5),
    ("What does Thackray say damaged the impeller?", 17, EROSION, 3),
]
"""First question, position of the row whose first question is asked next, and where that is answered."""


def conversations() -> list[tuple[str, str, str, str, int]]:
    """Kind, first question, second question, document and 0-based page of the second."""
    made = [("follow-up", *row) for row in FOLLOW_UPS]
    for first, position, document, page in SWITCHES:
        made.append(("switch", first, FOLLOW_UPS[position][0], document, page))
    return made


def ranks(qa: DocumentQA, question: Callable[[str, str], str]) -> dict[str, list[int]]:
    """Rank of the evidence page by kind; 99 if it is not among ten."""
    found: dict[str, list[int]] = {}
    for kind, first, second, document, page in conversations():
        ranking = qa.search(question(first, second), k=10)
        places = [(c.page.source.name.removesuffix(".pdf"), c.page.number) for c in ranking if c.page]
        found.setdefault(kind, []).append(
            places.index((document, page)) + 1 if (document, page) in places else 99
        )
    return found


def kept(first: str, second: str) -> str:
    return WordKeeper().rewrite(second, [{"role": "user", "content": first}]).text


WAYS = {
    "as asked": lambda first, second: second,
    "words kept if it leans": kept,
    "words always kept": lambda first, second: f"{second} {first}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", action="store_true", help="also print each question as it is searched")
    parser.add_argument("--json", type=Path, help="write the counts as JSON")
    options = parser.parse_args()
    show, rows = options.show, {}
    with DocumentQA(MemoryIndex.for_embedder(default()), embedder=default()) as qa:
        qa.add(sample_documents())
        if show:
            for kind, first, second, _, _ in conversations():
                print(f"{kind:10} leans={leans_on_history(second)!s:5} {kept(first, second)}")
        print(f"{'':26}{'follow-up: at 1':>17}{'at 3':>8}{'switch: at 1':>16}{'at 3':>8}")
        for name, way in WAYS.items():
            found = ranks(qa, way)
            row = f"{name:26}"
            for kind, width in (("follow-up", 17), ("switch", 16)):
                places = found[kind]
                for k, wide in ((1, width), (3, 8)):
                    counts = rows.setdefault(name, {}).setdefault(kind, {"of": len(places)})
                    counts[f"at_{k}"] = sum(place <= k for place in places)
                    row += f"{sum(place <= k for place in places)} of {len(places)}".rjust(wide)
            print(row)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


def default():
    from mmrag.models.load import default_embedder

    return default_embedder()


if __name__ == "__main__":
    main()
