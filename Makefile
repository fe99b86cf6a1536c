# Two commands matter: `make demo` and `make test`. Both need Python >= 3.11, make and a network the first time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/sh
KEPT := decide codec throughput latency instruments "scale workers" "scale partitions" "scale documents" "scale sessions"
PRINTED := policies lint start enforcement sweeps "sweeps --sessions 1000000 --everyone" fairness
.DEFAULT_GOAL := help
.PHONY: help env demo test lint fast cover bench bench-peers fuzz sim chaos lock clean

help:  ## Show this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(VENV)/.made  ## Make .venv from the lock file, with hashes.

$(VENV)/.made: requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Doorward needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -c 'import ensurepip, venv' || { echo 'install python3-venv first'; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: env  ## See the main job work, on a real Kafka, and checked. DEMO="--json" for machines.
	@$(BIN)/doorward demo $(DEMO)

test: env  ## Everything: lint, types, all tests, three files at a time (they mostly wait). Prints pytest's summary last.
	@$(MAKE) --no-print-directory -j 2 lint cover
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder --ignore=tests/core --ignore=tests/charter

lint: env  ## ruff, mypy.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

cover: env  ## The pure core's tests, and its 100 % branch coverage.
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -n 2 tests/core tests/charter
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

$(VENV)/.bench: requirements-bench.lock $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

bench: $(VENV)/.bench  ## Every benchmark, one after the other (an hour and more; a quiet machine); BENCH=--record keeps results.
	@for each in $(KEPT); do echo "== $$each"; $(BIN)/python -m benchmarks.$$each $(BENCH) || exit 1; done
	@for each in $(PRINTED); do echo "== $$each"; $(BIN)/python -m benchmarks.$$each || exit 1; done

bench-peers: $(VENV)/.bench  ## Doorward beside Kafka Streams, Quix Streams, stock Faust and a raw loop (needs a JDK and Maven).
	@$(BIN)/python -m benchmarks.peers.compare $(BENCH)

fuzz: env  ## Hostile inputs for all that reads bytes from elsewhere; INPUTS=N (a million, some ten minutes), FUZZ="--from N".
	@$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),1000000) $(FUZZ)

chaos: env  ## Faults on real brokers, long form, some forty minutes; writes the table in tests/chaos/README.md.
	@CHAOS=long $(BIN)/python -m pytest -q -s tests/chaos

sim: env  ## Workers against simulated brokers, seed by seed; SEEDS=N (10,000), SIM="--from SEED" plays one again.
	@$(BIN)/python -m tests.sim --seeds $(or $(SEEDS),10000) $(SIM)

fast: env  ## Only what needs no broker.
	@$(BIN)/python -m pytest -q -m "not broker"

lock:  ## Write the lock files anew; needs uv. They carry names, versions and hashes only.
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --extra dev --group test -c requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --group bench -c requirements-dev.lock -o requirements-bench.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links benchmarks/peers/quix/requirements.in -o benchmarks/peers/quix/requirements.lock

clean:  ## Remove what this file made.
	rm -rf $(VENV) .venv-quix benchmarks/peers/kafkastreams/target .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .import_linter_cache
