# The two commands of the README: `make demo` and `make test`. Both set up .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTED := $(VENV)/.installed-extras
DOCUMENTED := $(VENV)/.installed-docs
EMPTY := build/empty
PAGE := src/sarcast/viewer/page
# Processes that run tests: two for each of two cores, since tests wait nearly half of their time.
WORKERS ?= 4
# Options of the demo that the wheel is tried with.
DEMO ?= --size-km 2

PIP := -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint docs dist bench clean install viewer viewer-check

install: $(STAMP)

# torch first and pinned: an unpinned one may bring gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) torch
	$(BIN)/python $(PIP) -e '.[dev]'
	touch $@

# What the tests need besides: the extras, whose systems they start.
$(TESTED): $(STAMP)
	$(BIN)/python $(PIP) -e '.[dev,grd,notebook,pgstac,postgis]'
	touch $@

demo: $(STAMP)
	$(BIN)/sarcast demo --to demo --overwrite

# Tests of one file run in one process; processes of one thread each share the cores.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in docs/_build/html: nothing is fetched, a warning is an error, notebooks are executed. The
# examples and command lines of the pages are run by the tests.
docs: $(DOCUMENTED)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	$(BIN)/python -m pytest tests/test_98_documents.py tests/test_98_examples.py

$(DOCUMENTED): $(TESTED)
	$(BIN)/python $(PIP) -e '.[docs]'
	touch $@

# Wheel and source archive in dist/, checked, and the demo run from the wheel in an empty environment.
dist: $(STAMP)
	rm -rf dist $(EMPTY)
	$(BIN)/python $(PIP) -e '.[dist]'
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv $(EMPTY)
	$(EMPTY)/bin/python $(PIP) torch
	$(EMPTY)/bin/python $(PIP) dist/sarcast-*.whl
	cd $(EMPTY) && bin/sarcast demo --to demo $(DEMO)

# The page of sarcast view, from its sources; needs node. The result is committed.
viewer:
	cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund && npm run build

viewer-check:
	cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund && npm run check

bench: $(STAMP)
	$(BIN)/sarcast bench --model base --to bench --overwrite

clean:
	rm -rf $(VENV) demo bench build dist docs/_build docs/jupyter_execute docs/reference/generated .mypy_cache .pytest_cache .ruff_cache
