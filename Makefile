# Two commands do all set-up: `make quickstart` and `make test`; `make audit` looks for known weaknesses. Nothing outside this folder is changed.

# The Python that makes .venv; 3.11 or newer.
PYTHON ?= $(shell python3.11 --version >/dev/null 2>&1 && echo python3.11 || echo python3)
# Address of the package index that torch comes from; empty: the usual one. For a machine without a GPU, several GB less:
#   make quickstart TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# More words for pytest, such as PYTEST_ARGS="-k artifacts".
PYTEST_ARGS ?=
# Test modules at a time. A module never runs beside itself: it may hold a Ray cluster.
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
TORCH := $(VENV)/.installed-torch-$(or $(notdir $(patsubst %/,%,$(TORCH_INDEX))),default)

.PHONY: help quickstart test audit

help:
	@echo "make quickstart   set up .venv and run the quickstart job"
	@echo "make test         set up .venv and run every check: ruff, mypy, pytest"
	@echo "make audit        ask the index for known weaknesses of every pinned version (pip-audit)"
	@echo "Variables: PYTHON=$(PYTHON)  TORCH_INDEX=$(TORCH_INDEX)  JOBS=$(JOBS)  PYTEST_ARGS=$(PYTEST_ARGS)"

quickstart: $(VENV)/.installed
	$(BIN)/raytune-rec run quickstart

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# --strict: a version that nobody can tell of is no clean one.
audit: $(VENV)/.installed
	$(PIP) --constraint constraints.txt pip-audit
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made; on Debian: apt install python3-venv"; exit 1; }

# Without its dependencies: an index of torch builds seldom holds the pinned versions of the others.
$(TORCH): | $(BIN)/python
ifneq ($(TORCH_INDEX),)
	$(PIP) --constraint constraints.txt --no-deps --force-reinstall --index-url $(TORCH_INDEX) torch
endif
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(TORCH)
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[test]'
	@touch $@
