"""Figures of the bench, one idea a file: systems by number, papers by colour and mark, the same text for the same numbers."""
