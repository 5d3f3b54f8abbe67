"""Training data from an index and a reranker: which pages to push away, and which only look wrong.

Questions with known pages go in; lines of JSON come out, each with its positives, hard negatives, pages
that were removed because they probably answer the question, too, and everybody's scores. A trainer reads
them. The rules stand in `mmrag.training.mining.rules`, the format in `mmrag.training.mining.records`, the
loop in `mmrag.training.mining.miner`.
"""

from mmrag.training.mining.miner import Miner
from mmrag.training.mining.questions import MiningQuestion, read_questions
from mmrag.training.mining.records import read_mined
from mmrag.training.mining.report import MiningReport, save_plot
from mmrag.training.mining.rules import Rules, Scored, Selection, rules_for, select

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
