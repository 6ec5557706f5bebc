# `make demo` and `make test` need nothing but Python 3.11 or newer, make and a network for packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS := $(BIN)/python -m pytest

.PHONY: help setup client demo test test-fast check format soak bench clean

help:             ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup:            ## Make .venv; quick when nothing changed.
	@PYTHON=$(PYTHON) scripts/setup $(VENV)

client:           ## Install the Claude Code client of the live tests, which skip without it; needs npm.
	@scripts/setup-client

demo: setup       ## Design, scaffold, run and analyze the shipped experiment in runs/demo.
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo runs/demo

test: setup       ## Everything, with real training and evaluation.
	$(TESTS) -n auto --dist loadfile --no-loadscope-reorder -m "not soak" $(ARGS)

test-fast: setup  ## What needs no training and no patience: about a minute.
	$(TESTS) -n auto -m "not soak and not train and not slow" $(ARGS)

check: setup      ## Lint, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup     ## Let ruff mend what it can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: setup       ## The long versions: kills everywhere, hostile designs, more recipes, the examples whole.
	$(TESTS) -m soak $(ARGS)

bench: demo       ## Measure; figures go to docs/benchmarks.md by hand.
	$(BIN)/python -m benchmarks

clean:            ## Remove the demo and the caches; .venv and other runs stay.
	rm -rf runs/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
