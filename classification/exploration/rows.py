"""`eda.csv`: one row a crop, in the order of the tables."""

import csv
import io

import numpy as np

from classification.exploration.copies import twin_of
from classification.exploration.crops import Crops
from classification.exploration.numbers import Numbers
from classification.exploration.report import Found

COLUMNS = (
    *("file", "source", "label", "split", "group", "stain", "cell_diameter_px", "nucleus_diameter_px"),
    *("pca1", "pca2", "umap1", "umap2", "outlier_score", "twin_of", "suspect", "p_label"),
)


def eda_csv(crops: Crops, numbers: Numbers, found: Found) -> str:
    """One row a crop, `COLUMNS`; empty where something is not known."""
    files, labels = crops.files, crops.labels
    twins = twin_of(found.report["twins"]["pairs"], len(crops))
    suspects = {each["row"]: each for each in found.report["suspects"]["found"]}
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    for i in range(len(crops)):
        known = [str(values[i]) for values in (crops.sources, crops.splits, crops.groups, crops.stains)]
        sizes = [_short(numbers.sizes[name][i], 2) for name in ("cell_diameter_px", "nucleus_diameter_px")]
        places = [_short(value, 4) for value in (*found.pca[i], *found.umap[i], found.odd[i])]
        twin, doubt = twins[i], suspects.get(i)
        told = ["" if twin is None else files[twin], doubt["suggested"] if doubt else "", _short(doubt["p_label"], 4) if doubt else ""]
        writer.writerow([files[i], known[0], labels[i], *known[1:], *sizes, *places, *told])
    return sink.getvalue()


def _short(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""
