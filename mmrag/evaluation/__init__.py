"""How good a ranking is, measured: packs of questions, metrics, reports."""

from mmrag.evaluation.pack import Pack, PageKey, Question, load_pack
from mmrag.evaluation.plot import save_plot
from mmrag.evaluation.report import Report, evaluate

__all__ = ["Pack", "PageKey", "Question", "Report", "evaluate", "load_pack", "save_plot"]
