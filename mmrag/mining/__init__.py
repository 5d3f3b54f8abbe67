"""Training data from an index and a reranker: which pages to push away, and which only look wrong.

Questions with known pages go in; lines of JSON come out, each with its positives, hard negatives, pages
that were removed because they probably answer the question, too, and everybody's scores. A trainer reads
them. The rules stand in `mmrag.mining.rules`, the format in `mmrag.mining.lines`, the loop in
`mmrag.mining.miner`.
"""

from mmrag.mining.lines import read_mined
from mmrag.mining.miner import Miner
from mmrag.mining.questions import MiningQuestion, read_questions
from mmrag.mining.report import MiningReport, save_plot
from mmrag.mining.rules import Rules, Scored, Selection, rules_for, select

__all__ = [
    "Miner",
    "MiningQuestion",
    "MiningReport",
    "Rules",
    "Scored",
    "Selection",
    "read_mined",
    "read_questions",
    "rules_for",
    "save_plot",
    "select",
]
