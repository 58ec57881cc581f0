# One virtual environment, made from pinned versions. PYTHON and VENV may be overridden.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Marker files: what the package needs to run, and with it what tests and checks need.
DEMO   := $(VENV)/.demo
DEV    := $(VENV)/.dev
PIP    := $(BIN)/python -m pip install --quiet --constraint constraints.txt

export NIGHTCAST_REAL_DATA ?= $(wildcard ../shared/data)

.PHONY: demo test check format reference accuracy benchmark system clean

demo: $(DEMO)             ## the whole loop on real data, without a network
	$(BIN)/nightcast demo

test: $(DEV) system       ## all tests, on two processes of one thread each
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile

check: $(DEV)             ## style, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: $(DEMO)        ## the table of every field of a product file
	$(BIN)/nightcast schema --markdown > deploy/products/README.md.new
	mv deploy/products/README.md.new deploy/products/README.md

accuracy: $(DEV)          ## the table of scores in models/README.md
	$(BIN)/python -W ignore tests/benchmarks/irish_wind.py

benchmark: $(DEV)         ## start-up, and ratios measured side by side in one run
	$(BIN)/python -W ignore -m tests.benchmarks.startup
	$(BIN)/python -W ignore tests/benchmarks/data_plane.py
	$(BIN)/python -W ignore -m tests.benchmarks.frames
	$(BIN)/python -W ignore -m tests.benchmarks.convlstm
	$(BIN)/python -W ignore -m tests.benchmarks.attention

system:                   ## a browser and PostgreSQL for the tests, where they may be installed
	@.ci/system

$(DEMO): pyproject.toml constraints.txt
	@echo "Installing into $(VENV); the first time this takes a minute or more."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

$(DEV): $(DEMO)
	$(PIP) --editable '.[auckland,grib,postgres,prophet,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .nightcast .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
