# Each target does its own set-up: Python 3.11 or newer and make are all it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: help demo demo-overnight demo-content demo-review test lint serve bench clean

help: ## What can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: $(BIN)/python requirements/build.txt requirements/app.txt pyproject.toml
	$(PIP) install --require-hashes -r requirements/build.txt
	$(PIP) install --require-hashes -r requirements/app.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.app requirements/dev.txt
	$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(VENV)/.app ## The whole job on this machine, with a stand-in Gemini and a local Slack
	$(BIN)/orchestrator demo

demo-overnight: $(VENV)/.app ## Fifty films: ordered at dusk, made overnight, picked in the morning
	$(BIN)/orchestrator demo overnight

demo-content: $(VENV)/.app ## From an entry of a feed to a film that a person picked, published once
	$(BIN)/orchestrator demo content

demo-review: $(VENV)/.app ## Research, then risk, then legal, then a receipt
	$(BIN)/orchestrator demo review

test: $(VENV)/.dev ## All tests, on SQLite and on a PostgreSQL of their own
	$(BIN)/pytest -q -n 4 --dist load --maxschedchunk 8

lint: $(VENV)/.dev ## Formatting, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

serve: $(VENV)/.app ## The service, with config.yaml and the secrets of your environment
	$(BIN)/orchestrator serve

bench: $(VENV)/.dev ## Measurements, as ratios within one run
	$(BIN)/python -m bench

clean: ## Take the set-up away
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
