"""The painter behind `datasets.painted`: style (one slide), shapes, red, white and nuclei (one cell), places, clutter, camera, field."""
