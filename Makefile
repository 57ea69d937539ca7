# Every target sets up what it needs: on a fresh machine `make demo` and `make test` just work.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
QWENKIT := $(BIN)/qwenkit

# Stage targets: make train DATASET=100k CONFIG=fast ARGS="--epochs 3"
STAGE_OPTIONS = $(if $(DATASET),--dataset $(DATASET)) $(if $(CONFIG),--config $(CONFIG)) $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-raid check format docs bench bench-data bench-gpu bench-raid bench-train wheel clean prepare tokenize train evaluate export run

help: ## List the targets
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-28s %s\n", $$1, $$2}'

$(READY): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable '.[dev]'
	@touch $@

setup: $(READY) ## Make .venv with the tested stack

demo: $(READY) ## All five stages on real text, offline, on a CPU
	$(QWENKIT) demo $(ARGS)

test: $(READY) ## The tests but the slow ones
	$(BIN)/python -m pytest -m "not slow and not gpu and not network" $(ARGS)

test-all: $(READY) ## All tests that this machine can run
	$(BIN)/python -m pytest -m "not gpu and not network" $(ARGS)

check: $(READY) ## Formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## Format the code, mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## Write qwenkit/docs/settings.md from the schema
	$(QWENKIT) config reference > qwenkit/docs/settings.md

RAID_VENV := build/raid-venv

test-raid: $(READY) ## RAID's protocol against the leaderboard's own code, which wants an old numpy
	test -x $(RAID_VENV)/bin/python || $(PYTHON) -m venv $(RAID_VENV)
	$(RAID_VENV)/bin/pip install --quiet raid-bench==0.2.0
	HOME=$(CURDIR)/build $(BIN)/python -m tests.tools.compare_with_raid $(RAID_VENV)/bin/python

bench: $(READY) ## Benchmarks, one JSON object a line
	$(BIN)/python -m tests.benchmarks $(ARGS)

bench-raid: $(READY) ## A sample from files like RAID's, of 200,000 and a million rows: speed and memory
	$(BIN)/python -m tests.benchmarks.raid_source $(ARGS)

bench-train: $(READY) ## Training and evaluation against the stock Trainer, on a CPU
	$(BIN)/python -m tests.benchmarks.train

bench-gpu: $(READY) ## Training the 0.6B shape against the stock Trainer, on a GPU (ARGS=--tiny: a toy on the CPU)
	$(BIN)/python -m tests.benchmarks.gpu $(ARGS)

bench-data: $(READY) ## How prepare and tokenize grow with the set, to 400,000 rows (ARGS="50000 2000000" for others)
	$(BIN)/python -m tests.benchmarks.scale $(ARGS)

wheel: $(READY) ## Build the wheel and try it in a clean environment
	rm -rf dist build/wheel-venv
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/pip install --quiet --constraint .ci/constraints.txt dist/*.whl
	cd build && wheel-venv/bin/qwenkit --help > /dev/null
	cd build && wheel-venv/bin/qwenkit config validate --config demo
	cd build && wheel-venv/bin/qwenkit doctor
	cd build && wheel-venv/bin/qwenkit prepare --dataset demo --config demo --root wheel-output --force
	cd build && wheel-venv/bin/qwenkit init wheel-init --force
	cd build/wheel-init && ../wheel-venv/bin/python standalone.py --help > /dev/null

clean: ## Remove what builds and tests leave (not output/)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

prepare tokenize train run: $(READY) ## One stage (or run: all): DATASET=100k CONFIG=fast ARGS="--epochs 3"
	$(QWENKIT) $@ $(STAGE_OPTIONS)

evaluate export: $(READY) ## One stage on the newest run, or ARGS=output/RUN
	$(QWENKIT) $@ $(if $(CONFIG),--config $(CONFIG)) $(ARGS)
