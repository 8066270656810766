"""One self-contained HTML page from a report."""

from pushloss_pipeline.report.model import Report


def render(report: Report) -> str:
    """The page as text; it asks for nothing outside itself."""
    raise NotImplementedError(report)
