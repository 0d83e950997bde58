"""Handcrafted features of cells: masks by fuzzy c-means, then families of numbers with names and units."""

from classification.features.families import FAMILIES, HANDCRAFTED, SETS, Features, choose, compute, feature_names

__all__ = ["FAMILIES", "HANDCRAFTED", "SETS", "Features", "choose", "compute", "feature_names"]
