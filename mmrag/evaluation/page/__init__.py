"""A report as one HTML file: summary, plots, and every question with its pages, to see why."""

from mmrag.evaluation.page.document import report_page, save_html
from mmrag.evaluation.page.pictures import DrawPage

__all__ = ["DrawPage", "report_page", "save_html"]
