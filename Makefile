# The commands of the project. `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
TEST_WORKERS ?= auto
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.ready-for-the-demo

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up test faults check audit fuzz env example clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(DEMO_READY) ## start Milo, transcribe samples/, show the table, stop
	@$(BIN)/python -m milo.cli.demo

up: $(READY) ## start Milo and keep it running
	@$(BIN)/milo up

test: $(READY) ## all tests
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

faults: $(READY) ## make every fault many times under load, print one table (FAULTS="--short", "--only redis")
	@$(BIN)/python -m tests.faults $(FAULTS)

check: $(READY) ## style, types, import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: $(READY) ## known vulnerabilities in the pinned versions (asks pypi.org)
	@$(BIN)/python .ci/audit.py

fuzz: $(READY) ## spoiled files through the decoder, for ten minutes
	@$(BIN)/python -m tests.fuzz --minutes 10

env: $(READY) ## the whole Python environment in .venv (the first time it compiles llama.cpp)

example: $(READY) ## write .env.example from milo/settings.py
	@$(BIN)/python -m milo.cli.env_example > .env.example

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) demo-out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Milo needs Python 3.10 or later; name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The demo needs neither torch nor llama.cpp, which take most of the time; of silero-vad it needs one file, and not the
# torch that the package asks for. With the whole environment there is nothing to do.
$(DEMO_READY): pyproject.toml constraints.txt .ci/demo_packages.py | $(BIN)/python
	@if [ $(READY) -nt pyproject.toml ] && [ $(READY) -nt constraints.txt ]; then exit 0; fi; set -ex; \
	$(PIP) --no-deps -e .; \
	$(BIN)/python .ci/demo_packages.py >$(VENV)/demo-packages.txt; \
	$(PIP) -r $(VENV)/demo-packages.txt; \
	$(PIP) --no-deps silero-vad
	@touch $@

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@
