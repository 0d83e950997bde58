"""The classical systems of the papers: features of a crop, then a model of scikit-learn."""
