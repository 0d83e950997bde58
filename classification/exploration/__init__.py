"""What a set of crops is like before anything learns from it: how it is spread, what gives its classes away, what is odd."""

STAINS = 8  # clusters of colour where the tables do not say the stain, as many as `datasets.taleqani` makes
MAP_CELLS = 3000  # drawn on a map: more hide each other, and UMAP takes a second for each hundred
