"""How good a ranking and an answer are, measured: packs of questions, metrics, reports."""

from mmrag.evaluation.answer_lines import AnswerFile, AnswerLine, read_answers
from mmrag.evaluation.answer_report import AnswerReport
from mmrag.evaluation.answer_run import ask_all, report_answers
from mmrag.evaluation.compare import Gain, compare, gain_table
from mmrag.evaluation.pack import Pack, PageKey, Question, load_pack, select_questions
from mmrag.evaluation.plot import save_plot
from mmrag.evaluation.report import Report, evaluate

__all__ = [
    "AnswerFile",
    "AnswerLine",
    "AnswerReport",
    "Gain",
    "Pack",
    "PageKey",
    "Question",
    "Report",
    "ask_all",
    "compare",
    "evaluate",
    "gain_table",
    "load_pack",
    "read_answers",
    "report_answers",
    "save_plot",
    "select_questions",
]
