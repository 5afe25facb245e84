# What a developer types. Every target says what it does before it does it and may be run again at any time.
#   PYTHON  the interpreter that makes the virtual environment (3.11 or newer)
#   VENV    where it lies
#   OUT     where `make quickstart` writes
PYTHON ?= python3
VENV ?= .venv
OUT ?= quickstart

BIN := $(VENV)/bin
STAMP := $(VENV)/.slmtk-installed

# OpenMP threads that spin at barriers make small training several times slower wherever anything else runs.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 0
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.PHONY: help install quickstart test lint types docs docs-check check clean

help:
	@echo "make quickstart   install, then the whole way from no data to a measured model (OUT=$(OUT))"
	@echo "make test         install, then the tests: offline, on the CPU"
	@echo "make lint types   style (ruff) and types (mypy --strict)"
	@echo "make docs         write docs/cli.md from the commands; docs-check compares it"
	@echo "make check        test, lint, types and docs-check, as the CI does"
	@echo "make install      the virtual environment $(VENV) and slmtk in it, nothing else"
	@echo "make clean        remove caches and $(OUT)/; $(VENV) stays"
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV) OUT=$(OUT)"

install: $(STAMP)

# The stamp is newer than pyproject.toml once everything it asks for is installed.
$(STAMP): pyproject.toml
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh .ci/venv
	@echo "==> Installing slmtk with its embedded and development parts into $(VENV); the first time downloads torch (several GB)"
	@$(BIN)/python -m pip install --quiet --editable '.[embedded,dev]'
	@touch $(STAMP)

quickstart: $(STAMP)
	@echo "==> From no data to a measured speech model, in $(OUT)/ (about ten minutes on two cores)"
	@PATH="$(abspath $(BIN)):$$PATH" bash examples/quickstart.sh "$(OUT)"

test: $(STAMP)
	@echo "==> Tests (offline, on the CPU)"
	@$(BIN)/python -m pytest -q

lint: $(STAMP)
	@echo "==> Style"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(STAMP)
	@echo "==> Types"
	@$(BIN)/mypy

docs: $(STAMP)
	@echo "==> Writing docs/cli.md from the commands"
	@$(BIN)/python docs/make_cli.py

docs-check: $(STAMP)
	@echo "==> Comparing docs/cli.md with the commands"
	@$(BIN)/python docs/make_cli.py --check

check: test lint types docs-check

clean:
	@echo "==> Removing caches, build leftovers and $(OUT)/"
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info "$(OUT)"
	@find slmtk tests benchmarks docs examples -name __pycache__ -type d -prune -exec rm -rf {} +
