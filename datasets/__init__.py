"""One module per data source; run as `python -m datasets.NAME` from the checkout, never installed, imported by nobody."""
