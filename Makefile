# Everything is made from nothing but Python 3.11+; see `make help`.

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
WEB := socket_server/web
CLIENT := $(WEB)/static/vendor/socket.io.esm.min.js
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
MADE_FROM := pyproject.toml constraints.txt | $(BIN)/python

.DELETE_ON_ERROR:
.PHONY: help demo up test lint web bench

help:  ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile

demo: .venv/all.stamp $(CLIENT)  ## enqueue a job and watch its bars; ARGS="--path /some/folder --once"
	@$(BIN)/taskbridge demo $(ARGS)

up: .venv/all.stamp $(CLIENT)  ## server, worker and Flower; ARGS="--broker-url amqp://..."
	@$(BIN)/taskbridge up $(ARGS)

# With loadgroup, and no groups, each test goes to the process that is free first.
test: .venv/lint.stamp $(CLIENT)  ## the whole suite, two tests at a time; ARGS="-k bar -x"
	@$(BIN)/python scripts/install_test_tools.py
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

lint: .venv/lint.stamp  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

web: $(CLIENT)  ## what the page needs from npm

bench: .venv/lint.stamp  ## each benchmark in benchmarks/
	@set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file $(ARGS); done

$(CLIENT): $(WEB)/package.json $(WEB)/package-lock.json scripts/build_web.py | $(BIN)/python
	@$(BIN)/python scripts/build_web.py

.venv/all.stamp: $(MADE_FROM)
	@echo "taskbridge: installing into .venv"
	@$(INSTALL) -e '.[all]'
	@touch $@

.venv/lint.stamp: $(MADE_FROM)
	@echo "taskbridge: installing into .venv, with what tests and lint need"
	@$(INSTALL) -e '.[lint]'
	@touch .venv/all.stamp $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'taskbridge: Python 3.11+ needed: name one, as in `make PYTHON=/path/to/python3.11`' >&2; exit 1; }
	@echo "taskbridge: making .venv"
	@$(PYTHON) -m venv --clear .venv
