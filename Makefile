# Two commands: `make demo` and `make test`. Needs make, python3 (3.11 or newer) and its venv module, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The name of the stamp holds the wanted packages, so a changed pin reinstalls and a fresh checkout time does not.
STAMP := $(VENV)/installed-$(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)
EXTRAS := audit,bench,onnx,openvino,roboflow,notebooks,papers,explain,dev
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input --constraint constraints.txt $(if $(MAKE_TERMOUT),,--quiet)
PYTEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: help setup demo test bench lint format types notebooks clean

help:
	@echo "make demo       paint sample fields, find and label their white cells, write out/demo/"
	@echo "make test       the whole test suite (PYTEST_ARGS='-k tiles' for a part)"
	@echo "make bench      how fast, beside what people write (BENCH_ARGS=--quick to see that it runs); docs/performance.md"
	@echo "make setup      only the environment, in $(VENV)"
	@echo "make lint       ruff: rules and format;  make format: apply them"
	@echo "make types      mypy on smear/"
	@echo "make notebooks  run the notebooks on painted fields"
	@echo "make clean      remove out/ and the caches, keep $(VENV)"

setup: $(STAMP)

# OpenCV's two wheels write the same folder. The windowless one goes in last, so its files win and no libGL is needed.
$(STAMP):
	@set -e; \
	command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) here; install it with: apt install python3 python3-venv" >&2; exit 2; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $$($(PYTHON) --version) is too old; 3.11 or newer is needed (another one: make PYTHON=python3.12 ...)" >&2; exit 2; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot make environments; install the module with: apt install python3-venv" >&2; exit 2; }; \
	[ -x $(BIN)/python ] || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }; \
	echo "installing the pinned packages into $(VENV) (a few gigabytes the first time, mostly PyTorch; some minutes)"; \
	$(PIP) setuptools opencv-python; \
	$(PIP) --no-build-isolation --editable '.[$(EXTRAS)]'; \
	ORT_DISABLE_TELEMETRY=1 $(BIN)/python -c 'import cv2, onnxruntime, torch'; \
	rm -f $(VENV)/installed-*; touch "$@"; echo "ready: $(VENV)"

demo: setup
	@$(BIN)/python -m datasets.painted --fields 6 --slides 6 --seed 7 --out out/demo-fields
	@$(BIN)/python -m smear analyze out/demo-fields/images --out out/demo
	@echo
	@echo "annotated images: out/demo/annotated/"
	@echo "report:           out/demo/report.html"
	@echo "one row a cell:   out/demo/cells.csv"
	@echo "The fields are painted by a program. Research use only; not a diagnostic device."

test: setup
	$(BIN)/python -m pytest -q --numprocesses auto --dist worksteal $(PYTEST_ARGS)

bench: setup
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup
	$(BIN)/mypy

notebooks: setup
	@for notebook in notebooks/*.ipynb; do \
	  $(BIN)/python -m nbconvert --to notebook --execute --log-level=ERROR --output-dir out/notebooks "$$notebook" || exit 1; \
	done

clean:
	rm -rf out .pytest_cache .hypothesis .mypy_cache .ruff_cache
