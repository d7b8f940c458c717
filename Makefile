# make demo    everything on this machine, with nothing but Python: Kafka, a simulated shift, the wall
# make check   what CI runs
# make setup   only the virtual environment and the embedded Kafka; then .venv/bin/callgauge
# make display  Grafana's own code for the tests of the dashboards, where npm is installed
# make properties  the comparison with the oracle, 2,000 examples each
# make simulate-faults  100,000 crashes of simulated workers; SIMULATION_SEED=... runs one again
# make chaos   real workers and a real broker that are killed, frozen and cut off, 15 minutes; CHAOS_ARGS="--seed 1 --minutes 60"
# make sabotage    breaks a copy in one place at a time: the tests must notice
# make mutate-rules  change the alert rules in one place at a time: every change must be noticed by their tests
# make bench   throughput against a bare loop and against Faust one event at a time

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO_ARGS ?=
CHAOS_ARGS ?=
# Most tests wait for processes of their own, so a few more than cores
TEST_PROCESSES ?= 4
THE_REST := --ignore=tests/core --ignore=tests/schemas

.DEFAULT_GOAL := help
.PHONY: help setup dev demo check lint test display properties simulate-faults chaos sabotage bench generate mutate-rules lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "callgauge needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# As machine code where there is a C compiler: a worker that is set up otherwise runs the same sources as Python.
$(VENV)/.compiled: $(wildcard stream/core/*.py schemas/*.py) stream/compiled.py hatch_build.py $(VENV)/.runtime
	$(BIN)/python hatch_build.py
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@

setup: $(VENV)/.runtime $(VENV)/.compiled
	@$(BIN)/callgauge kafka --prepare

dev: $(VENV)/.dev $(VENV)/.compiled
	@$(BIN)/callgauge kafka --prepare

demo: setup
	@$(BIN)/callgauge demo $(DEMO_ARGS)

check: dev lint test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The core and the schemas first, as Python, with their branches (100 %, but for what Hypothesis may not draw); then the core compiled; then all the rest, without the cost of measuring that.
test: dev display
	$(BIN)/python -m pytest -p tests.plain_core tests/core tests/schemas --cov --cov-fail-under=99 --numprocesses=2 --durations=0 --durations-min=5
	$(BIN)/python -m pytest tests/core --numprocesses=2 --durations=0 --durations-min=5
	$(BIN)/python -m pytest $(THE_REST) -m "not alone" --numprocesses=$(TEST_PROCESSES) --dist=loadfile
	$(BIN)/python -m pytest $(THE_REST) -m alone --numprocesses=2 --dist=loadfile

DISPLAY := tests/dashboards/display
display: $(DISPLAY)/node_modules/.installed

# Without npm those tests say loudly that they are skipped, and fail where CI=true.
$(DISPLAY)/node_modules/.installed: $(DISPLAY)/package-lock.json
	@if command -v npm >/dev/null; then cd $(DISPLAY) && npm ci --no-audit --no-fund --ignore-scripts --omit=optional && touch node_modules/.installed; else echo "npm is not installed: no $@"; fi

properties: dev
	PROPERTY_EXAMPLES=2000 $(BIN)/python -m pytest tests/properties --timeout=1200

simulate-faults: $(VENV)/.dev
	$(BIN)/python -m tests.simulation

chaos: dev
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

sabotage: $(VENV)/.dev
	$(BIN)/python -m tools.sabotage

bench: dev
	$(BIN)/python -m bench

generate: $(VENV)/.dev
	$(BIN)/python -m tools.generate
	$(BIN)/python -m tools.dashboards
	$(BIN)/python -m tools.manual
	$(BIN)/python -m tools.rule_tests

mutate-rules: $(VENV)/.dev
	$(BIN)/python -m tools.mutate_rules

lock: $(VENV)/.dev
	$(BIN)/uv pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --extra kafka --group build pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --extra kafka --extra parquet --extra report --group dev pyproject.toml --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) stream/_compiled .pytest_cache .mypy_cache .ruff_cache .hypothesis
