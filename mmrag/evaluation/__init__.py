"""How good a ranking and an answer are, measured: packs of questions, metrics, reports."""

from mmrag.evaluation.against import Comparison, Difference, compare_reports, read_report
from mmrag.evaluation.answer_lines import AnswerFile, AnswerLine, read_answers
from mmrag.evaluation.answer_report import AnswerReport
from mmrag.evaluation.answer_run import ask_all, report_answers
from mmrag.evaluation.compare import Gain, compare, gain_table
from mmrag.evaluation.pack import Pack, PageKey, Question, load_pack, select_questions
from mmrag.evaluation.paired import PairedTest, paired_test
from mmrag.evaluation.plot import save_plot
from mmrag.evaluation.report import Report, evaluate

__all__ = [
    "AnswerFile",
    "AnswerLine",
    "AnswerReport",
    "Comparison",
    "Difference",
    "Gain",
    "Pack",
    "PageKey",
    "PairedTest",
    "Question",
    "Report",
    "ask_all",
    "compare",
    "compare_reports",
    "evaluate",
    "gain_table",
    "load_pack",
    "paired_test",
    "read_answers",
    "read_report",
    "report_answers",
    "save_plot",
    "select_questions",
]
