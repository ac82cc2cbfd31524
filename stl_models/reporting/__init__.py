"""The pages of a conversion: report.html and report.md beside the converted model."""

from stl_models.reporting.write import write_report

__all__ = ["write_report"]
