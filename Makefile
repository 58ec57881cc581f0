# One virtual environment, made from pinned versions. PYTHON and VENV may be overridden.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

export NIGHTCAST_REAL_DATA ?= $(wildcard ../shared/data)

.PHONY: demo test check format benchmark system clean

demo: $(READY)            ## the whole loop on real data, without a network
	$(BIN)/nightcast demo

test: $(READY) system     ## all tests
	$(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadgroup

check: $(READY)           ## style, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(READY)       ## ratios measured side by side in one run
	$(BIN)/python -m pytest tests/benchmarks/run.py

system:                   ## a browser for the page tests, where this may be installed
	@.ci/system

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[auckland,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .nightcast .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
