"""The shared vocabulary, the analysis and the report of leukofield."""

__version__ = "0.1.0"
