# Every target sets up what it needs: a virtual environment in .venv, made once, renewed when the dependencies change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-real run lint format types venv clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Start the daemon, drop three requests, show what comes of them
	@$(BIN)/python -m darkroom.cli.demo

test: $(READY) lint types ## Check format, style and types, then run every test
	$(BIN)/pytest

test-real: $(READY) ## Run what needs root and Debian packages: real clients, shares and faults (REAL=FILES for a part)
	@tests/real/set_up.sh
	$(BIN)/pytest $(or $(REAL),tests/real)

run: $(READY) ## Run the daemon on inbox/ and outbox/ until Ctrl-C
	@$(BIN)/darkroom run

lint: $(READY) ## Check format and style
	$(BIN)/ruff format --check
	$(BIN)/ruff check

format: $(READY) ## Format the code and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

types: $(READY) ## Check types
	$(BIN)/mypy

venv: $(READY) ## Set up .venv and nothing else

clean: ## Remove .venv and caches; inbox, outbox and state stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Darkroom needs Python 3.11 or newer; $$($(PYTHON) --version) was found. Try: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV): done once; PyTorch is a large download."
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev,train]'
	@touch $@
