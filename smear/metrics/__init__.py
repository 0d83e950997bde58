"""Pure functions from truth and result to numbers; thin over faster-coco-eval, scikit-learn and scipy."""
