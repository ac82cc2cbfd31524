"""The report of a run: report.html, report.md, scores.csv and figures, all from one evaluation."""

from stl_search.report.write import write_report

__all__ = ["write_report"]
