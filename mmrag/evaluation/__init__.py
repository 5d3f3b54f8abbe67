"""How good a ranking is, measured: packs of questions, metrics, reports."""

from mmrag.evaluation.compare import Gain, compare, gain_table
from mmrag.evaluation.pack import Pack, PageKey, Question, load_pack
from mmrag.evaluation.plot import save_plot
from mmrag.evaluation.report import Report, evaluate

__all__ = [
    "Gain",
    "Pack",
    "PageKey",
    "Question",
    "Report",
    "compare",
    "evaluate",
    "gain_table",
    "load_pack",
    "save_plot",
]
