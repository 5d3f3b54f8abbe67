"""Training pairs from a user's own documents: queries, each with the page, boxes and rule it came from.

`make_pairs` reads documents, asks for what stands on their pages (headings, captions, table cells,
sentences with words left out and replaced, questions by template or by a model behind a URL), sorts out
near-duplicates and page furniture, sets documents aside, and writes the lines of
`mmrag.training.mining.records`. Nothing here needs torch.
"""

from mmrag.training.pairs.make import make_pairs
from mmrag.training.pairs.question_writer import QuestionWriter
from mmrag.training.pairs.report import PairReport
from mmrag.training.pairs.settings import RULES, Pair, PairSettings

__all__ = ["RULES", "Pair", "PairReport", "PairSettings", "QuestionWriter", "make_pairs"]
