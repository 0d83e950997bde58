"""Figures of the report, one idea a file: the same text for the same numbers, drawn without a window or a network."""
