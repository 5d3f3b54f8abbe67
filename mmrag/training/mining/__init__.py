"""Mine training data from an index and a reranker: hard negatives, and likely false ones set apart.

Questions with labelled pages go in; records as JSON Lines come out, each with its positives, its hard
negatives, the pages that were removed because they probably answer the question as well, and all scores. A
trainer reads them. `mmrag.training.mining.rules` has the rules, `mmrag.training.mining.records` the format,
`mmrag.training.mining.miner` the loop.
"""

from mmrag.training.mining.miner import Miner
from mmrag.training.mining.questions import MiningQuestion, read_questions
from mmrag.training.mining.records import read_mined
from mmrag.training.mining.report import MiningReport, save_plot
from mmrag.training.mining.rules import Rules, ScoredRecord, Selection, rules_for, select

__all__ = [
    "Miner",
    "MiningQuestion",
    "MiningReport",
    "Rules",
    "ScoredRecord",
    "Selection",
    "read_mined",
    "read_questions",
    "rules_for",
    "save_plot",
    "select",
]
