"""A replayed span as one page for people: what a supervisor prints on Monday. It loads nothing, and runs nothing."""

from stream.report.errors import ReportError, require
from stream.report.figures import Figures
from stream.report.page import page

__all__ = ["Figures", "ReportError", "page", "require"]
