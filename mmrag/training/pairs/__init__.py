"""Training pairs from a user's own documents: queries, each with the page, boxes and rule it came from.

`make_pairs` reads documents and makes queries of headings, captions, table cells and sentences with words
dropped and replaced, and questions by template or by a served model. It drops near-duplicates and running
headers, holds out documents for validation, and writes the records of `mmrag.training.mining.records`.
Nothing here needs torch.
"""

from mmrag.training.pairs.make import make_pairs
from mmrag.training.pairs.question_pack import QuestionReport, make_questions
from mmrag.training.pairs.question_writer import QuestionWriter
from mmrag.training.pairs.report import PairReport
from mmrag.training.pairs.settings import RULES, Pair, PairSettings

__all__ = [
    "RULES",
    "Pair",
    "PairReport",
    "PairSettings",
    "QuestionReport",
    "QuestionWriter",
    "make_pairs",
    "make_questions",
]
