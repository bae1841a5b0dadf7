# Everything happens in .venv, made from this repository alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: journey test check bench docs clean

journey: $(VENV)/.demo
	@$(BIN)/tito journey --output reports

test: check
	@$(BIN)/python -m pytest

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.test
	@$(BIN)/python benchmarks/holds.py

docs: $(VENV)/.test
	@$(BIN)/python docs/generate.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "making $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "installing tinytorch and what it needs (once) ..."
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	@echo "installing tinytorch, its demo and its test tools (once) ..."
	@$(PIP) -e '.[demo,test]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist reports .cache-tests
