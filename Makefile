# The two commands of the README: `make demo` and `make test`. Both set up .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTED := $(VENV)/.installed-extras
PAGE := src/sarcast/viewer/page

.PHONY: demo test lint bench clean install viewer viewer-check

install: $(STAMP)

# torch first and pinned: an unpinned one may bring gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# What the tests need besides: the extras, whose systems they start.
$(TESTED): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,grd,notebook,pgstac,postgis]'
	touch $@

demo: $(STAMP)
	$(BIN)/sarcast demo --to demo --overwrite

test: lint
	$(BIN)/python -m pytest

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The page of sarcast view, from its sources; needs node. The result is committed.
viewer:
	cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund && npm run build

viewer-check:
	cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund && npm run check

bench: $(STAMP)
	$(BIN)/sarcast bench --model base --to bench --overwrite

clean:
	rm -rf $(VENV) demo bench build dist .mypy_cache .pytest_cache .ruff_cache
