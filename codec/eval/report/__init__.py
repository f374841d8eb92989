"""Reports: JSON with everything, a Markdown table, a page to listen to."""

from codec.eval.report.content import About, Report
from codec.eval.report.write import write_report

__all__ = ["About", "Report", "write_report"]
