# Every target sets up what it needs: a virtual environment in .venv, made once, renewed when the dependencies change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# It is made anew when its Python is no longer the one that it was made with (after an upgrade of the system), and when
# PYTHON names another one.
VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
MADE_WITH := $(shell sed -n 's/^version[a-z_]* = \([0-9]*\.[0-9]*\).*/\1/p' $(VENV)/pyvenv.cfg 2>/dev/null)
RUNS_ON := $(or $(shell $(BIN)/python $(VERSION) 2>/dev/null),none)
ASKED := $(if $(filter file default,$(origin PYTHON)),,$(shell $(PYTHON) $(VERSION) 2>/dev/null))
OUTLIVED := $(if $(MADE_WITH),$(if $(filter-out $(MADE_WITH),$(RUNS_ON) $(ASKED)),outlived))

# Tests run beside each other, one a core: what each of them starts needs no more than that. Many wait for a daemon, and
# leave room for as many again.
ALONE := OMP_NUM_THREADS=1
WAITING = $(shell expr 2 \* $$(nproc))

# Hundreds of processes are started, each of which would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test tested test-models test-real dist run lint format types venv clean outlived

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Start the daemon, drop three requests, show what comes of them
	@$(BIN)/darkroom demo

test: $(READY) lint ## Check format, style and types, and run every test
	@$(MAKE) --no-print-directory --jobs 2 types tested

tested: $(READY)
	$(ALONE) $(BIN)/pytest -n $(WAITING) --dist worksteal

test-models: $(READY) ## Run tiny pipelines of nearly every class of diffusers that paints words: a few minutes
	$(ALONE) $(BIN)/pytest -n auto --dist worksteal tests/zoo

test-real: $(READY) ## Run what needs root and Debian packages: real clients, shares and faults (REAL=FILES for a part)
	@tests/real/set_up.sh
	@$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev,train,ray]'
	$(if $(REAL),,SAMPLED_ALL=1 $(BIN)/pytest -n auto tests/test_crash.py tests/test_flood.py tests/test_an_error_that_nobody_foresaw.py tests/test_gallery.py)
	$(BIN)/pytest -n 3 --dist loadscope --no-loadscope-reorder $(or $(REAL),tests/real)

dist: $(READY) ## Build the wheel and the source archive into dist/
	rm -rf dist
	$(BIN)/python -m build

run: $(READY) ## Run the daemon on inbox/ and outbox/ until Ctrl-C
	@$(BIN)/darkroom run

lint: $(READY) ## Check format and style
	$(BIN)/ruff format --check
	$(BIN)/ruff check

format: $(READY) ## Format the code and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

types: $(READY) ## Check types
	$(BIN)/mypy

venv: $(READY) ## Set up .venv and nothing else

clean: ## Remove .venv and caches; inbox, outbox and state stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt $(OUTLIVED)
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here. Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Darkroom needs Python 3.11 or newer, and this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV): done once; PyTorch is a large download."
	@$(PYTHON) -m venv $(if $(OUTLIVED),--clear) $(VENV) || \
	  { echo "Could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev,train]'
	@touch $@
