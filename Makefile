# The two commands of the README: `make demo` and `make test`. Both set up .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTED := $(VENV)/.installed-extras
LOWEST := $(VENV)-lowest
TESTS ?= tests

.PHONY: demo test lint lowest bench clean install

install: $(STAMP)

# torch first and pinned: an unpinned one may bring gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# What the tests need besides: the extras, whose systems they start.
$(TESTED): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,grd,pgstac]'
	touch $@

demo: $(STAMP)
	$(BIN)/sarcast demo --to demo --overwrite

test: lint
	$(BIN)/python -m pytest

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The oldest versions that pyproject.toml allows, but of torch: old ones bring gigabytes of CUDA.
# What they use themselves is new, and warns of their age, so warnings are no errors here.
lowest:
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch uv
	grep '^torch==' constraints.txt > $(LOWEST)/torch.txt
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --override $(LOWEST)/torch.txt \
	  --extra dev --extra grd --extra pgstac pyproject.toml --output-file $(LOWEST)/all.txt
	grep -vE '^ *#|^(torch|triton|nvidia-|cuda-)' $(LOWEST)/all.txt > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --no-deps -r $(LOWEST)/lowest.txt -e .
	$(LOWEST)/bin/python -m pytest -W default $(TESTS)

bench: $(STAMP)
	$(BIN)/sarcast bench --model base --to bench --overwrite

clean:
	rm -rf $(VENV) $(LOWEST) demo bench build dist .mypy_cache .pytest_cache .ruff_cache
