"""Finding cells: train, evaluate and export YOLO detectors, and run them from a bundle."""
