# One virtual environment, made from pinned versions. PYTHON and VENV may be overridden.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

export NIGHTCAST_REAL_DATA ?= $(wildcard ../shared/data)

.PHONY: demo test check format accuracy benchmark system clean

demo: $(READY)            ## the whole loop on real data, without a network
	$(BIN)/nightcast demo

test: $(READY) system     ## all tests; one thread each, so that two of them do not wait for each other
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile

check: $(READY)           ## style, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

accuracy: $(READY)        ## the table of scores in the README
	$(BIN)/python -W ignore tests/benchmarks/irish_wind.py

benchmark: $(READY)       ## ratios measured side by side in one run
	$(BIN)/python -W ignore tests/benchmarks/data_plane.py
	$(BIN)/python -W ignore -m tests.benchmarks.frames
	$(BIN)/python -W ignore -m tests.benchmarks.convlstm
	$(BIN)/python -W ignore -m tests.benchmarks.attention

system:                   ## a browser and PostgreSQL for the tests, where they may be installed
	@.ci/system

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[auckland,grib,postgres,prophet,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .nightcast .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
