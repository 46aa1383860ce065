# The commands of the project. `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
TEST_WORKERS ?= auto
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.ready-for-the-demo
NPM := VENV=$(VENV) .ci/npm
WEB_READY := web/node_modules/.ready
WEB := api/web_client/index.html
WEB_SOURCES := $(shell find web -name node_modules -prune -o -type f ! -name openapi.json ! -name schema.d.ts -print)
# Milo works without its web client: where it can't be built, the rest goes on.
BUILD_WEB := $(MAKE) --no-print-directory $(WEB) || echo "The web client could not be built; Milo runs without it." >&2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up web test faults check audit fuzz env example clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(DEMO_READY) ## start Milo, transcribe samples/, show the table, stop
	@$(BIN)/python -m milo.cli.demo

up: $(READY) ## start Milo and keep it running
	@$(BUILD_WEB)
	@$(BIN)/milo up

web: $(WEB) ## build the web client (with Node from PATH, or from a PyPI wheel)

test: $(READY) ## all tests
	@$(BUILD_WEB)
	@[ ! -f $(WEB_READY) ] || $(NPM) run --silent test
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

faults: $(READY) ## make every fault many times under load, print one table (FAULTS="--short", "--only redis")
	@$(BIN)/python -m tests.faults $(FAULTS)

check: $(READY) $(WEB_READY) ## style, types, import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@PYTHONPATH=. $(BIN)/python .ci/openapi.py
	@$(NPM) run --silent types >/dev/null && $(NPM) run --silent check

audit: $(READY) $(WEB_READY) ## known vulnerabilities in the pinned versions (asks pypi.org and npmjs.org)
	@$(BIN)/python .ci/audit.py; python=$$?; $(NPM) audit; npm=$$?; exit $$((python > npm ? python : npm))

fuzz: $(READY) ## spoiled files, tables, recipes and configurations through their readers, for ten minutes
	@$(BIN)/python -m tests.fuzz --minutes 10

env: $(READY) ## the whole Python environment in .venv (the first time it compiles llama.cpp)

example: $(READY) ## write .env.example from milo/settings.py
	@$(BIN)/python -m milo.cli.env_example > .env.example

$(WEB_READY): web/package.json web/package-lock.json | $(BIN)/python
	$(NPM) ci --no-audit --no-fund --loglevel error
	@touch $@

$(WEB): $(WEB_SOURCES) $(WEB_READY)
	$(NPM) run --silent build

clean: ## remove the environment and what tools left behind
	rm -rf api/web_client web/node_modules web/openapi.json web/src/api/schema.d.ts
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
