"""Any number of scored runs under each other: the last table on the way audio -> score."""

from slmtk.stages.compare.config import CompareConfig
from slmtk.stages.compare.report import Comparison, Facts, Metric, Row, Test, Value, mark
from slmtk.stages.compare.run import compare

__all__ = ["CompareConfig", "Comparison", "Facts", "Metric", "Row", "Test", "Value", "compare", "mark"]
