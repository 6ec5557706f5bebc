"""Analysis: from rows to statistics, tables, figures and a report.

Sees rows and the design, never a tool's format. May import `experiment` and `documents` only. pyarrow, SciPy,
matplotlib and Jinja2 are imported where they are used, so that importing this package costs nothing.
"""

from tuneloop.analysis.data import as_data
from tuneloop.analysis.markdown import summary_table
from tuneloop.analysis.results import Analysis, analyze
from tuneloop.analysis.write import write

__all__ = ["Analysis", "analyze", "as_data", "summary_table", "write"]
