# Everything runs in .venv, which is made on first use and brought up to date when pyproject.toml changes.
# Needs: a python3 of 3.11 or later with pip, make; for `make test` what `make tools` sees to. `make bench` also needs rsync,
# restic, casync, zsync, Syncthing, rclone, wrk, nginx-light and fcgiwrap;
# `make lab` needs root, iproute2, nginx-light, fcgiwrap and curl.

PYTHON ?= $(firstword $(foreach v,python3 python3.13 python3.12 python3.11,\
	$(shell $(v) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(v))))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test tools lint type unit bench lab soak sim docs clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

$(READY): pyproject.toml $(wildcard bin/*)
	@test -n '$(PYTHON)' || { echo 'Forge needs Python 3.11 or later: install it, or say make PYTHON=/path/to/python3'; exit 1; }
	@# Debian's python3 may lack ensurepip; pip alone can then fetch virtualenv, which brings its own.
	$(PYTHON) -m venv $(VENV) || { \
		$(PYTHON) -m pip install --quiet --target $(VENV)/bootstrap virtualenv && \
		PYTHONPATH=$(VENV)/bootstrap $(PYTHON) -m virtualenv --quiet $(VENV); }
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY) ## Two nodes on this machine: one shares a real directory, the other gets it
	$(BIN)/python -m simulations.demo

test: tools lint type unit ## Everything that has to pass: lint, types, layers, tests

tools: ## The programs that the tests drive: root installs what is missing, others are told how
	@.ci/tools

lint: $(READY) ## Style and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(READY) ## mypy --strict
	$(BIN)/mypy

unit: $(READY) ## The tests alone
	$(BIN)/pytest -n auto --dist loadfile

bench: $(READY) ## Forge beside rsync, casync, zsync, Syncthing, git and restic; rewrites docs/measurements.md
	$(BIN)/python -m simulations.versus

lab: $(READY) ## Hosts in miniature: Forge beside nginx, git and libtorrent; needs root; rewrites docs/labs.md
	$(BIN)/python -m pip install --quiet --editable '.[lab]'
	$(BIN)/python -m simulations.labs

soak: $(READY) ## The long tests: kills by the hundred, fuzzing by the million
	$(BIN)/pytest -m soak

sim: $(READY) ## Thousands of nodes in one process: the DHT and swarms, under a virtual clock
	$(BIN)/python -m simulations.dht
	$(BIN)/python -m simulations.swarm

docs: $(READY) ## Run every command in the documents and follow every link
	$(BIN)/pytest tests/docs

clean: ## Remove what make and the tests have made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
