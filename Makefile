# Everything is made from nothing but Python 3.11+; see `make help`.

PYTHON ?= python3
# Where all is installed. One for each Python: make test PYTHON=python3.13 VENV=build/python3.13
VENV ?= .venv
# Tests at a time: most of them wait for something.
PROCESSES ?= 5
# Debian's release from which `make test-rabbitmq4` takes RabbitMQ.
SUITE ?= trixie
ARGS ?=

BIN := $(VENV)/bin
WEB := socket_server/web
PAGE := $(WEB)/static/index.html
SOURCES := $(shell find $(WEB)/src $(WEB)/public -type f 2>/dev/null) $(WEB)/index.html \
  $(WEB)/vite.config.ts $(WEB)/package.json $(WEB)/package-lock.json $(WEB)/generate.mjs
# What the protocol's JSON Schema is made from, and of that the client's TypeScript.
SCHEMA := scripts/protocol_schema.py bridge/protocol/json_types.py bridge/protocol/request_types.py
BENCHMARKS := fanout latency import_time enqueue progress job_time outage sender journal canvas attacks page \
  hung_results estimates storm guarantees awatch job_size checkpoints archive
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
MADE_FROM := pyproject.toml constraints.txt | $(VENV)/schema.stamp

# Where a Python is named, an environment of another one is made anew.
NUMBER := -c 'import sys; sys.version_info < (3, 11) or print(sys.version_info[:2])' 2>/dev/null
ifeq ($(origin PYTHON),command line)
ASKED := $(shell $(PYTHON) $(NUMBER))
$(if $(filter-out $(shell $(BIN)/python $(NUMBER)),$(ASKED)),$(shell rm -f $(BIN)/python))
endif

.DELETE_ON_ERROR:
.PHONY: help demo up check unit test gevent long chaos compatibility canvas tqdm protocol test-rabbitmq4 lowest newest test-images manifests lint format audit web bench docs dist

help:  ## say what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/all.stamp $(PAGE)  ## enqueue a job and watch its bars; ARGS="--path /some/folder --once"
	@$(BIN)/taskbridge demo $(ARGS)

up: $(VENV)/all.stamp $(PAGE)  ## server, worker, archive and Flower; ARGS="--broker-url amqp://..."
	@$(BIN)/taskbridge up $(ARGS)

check: $(VENV)/lint.stamp $(PAGE)  ## lint and the unit tests, in a minute and a half
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint unit

unit: $(VENV)/lint.stamp $(PAGE)  ## the unit tests; ARGS="-k bar -x"
	@$(BIN)/python -m pytest --quiet tests/unit $(ARGS)

# Hundreds of processes read the code: without its bytecode, each compiles all of it.
test unit long chaos compatibility test-rabbitmq4: export PYTHONDONTWRITEBYTECODE =

# A whole file goes to one process, and so is made once what its tests share.
test: $(VENV)/lint.stamp $(PAGE)  ## the whole suite, five tests at a time; ARGS="-k bar -x"
	@$(BIN)/python scripts/install_test_tools.py
	@$(BIN)/python scripts/npm.py test --silent
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

gevent:  ## the whole suite, with servers on gevent
	@SERVER_MODE=gevent-serve $(MAKE) --no-print-directory test

# Not a part of the tests: each takes as long as they all do.
long: $(VENV)/lint.stamp $(PAGE)  ## the tests that take long; ARGS="-k outage"
	@$(BIN)/python scripts/install_test_tools.py
	@$(BIN)/python -m pytest -m long --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

chaos: $(VENV)/lint.stamp $(PAGE)  ## 500 jobs, and ten faults at a time for a quarter of an hour
	@$(BIN)/python scripts/install_test_tools.py
	@CHAOS_JOBS=500 CHAOS_SECONDS=900 CHAOS_FAULTS=10 $(BIN)/python -m pytest -m long tests/chaos/test_bad_day.py $(ARGS)

# Not a part of the tests: it takes the code of the release from git's history.
compatibility: $(VENV)/lint.stamp $(PAGE)  ## workers, a server, services and clients of 0.1.0 with this version
	@$(BIN)/python scripts/compatibility.py $(ARGS)

# Not a part of the tests: it fetches Celery's source distribution, and takes a quarter of an hour.
canvas: $(VENV)/lint.stamp $(PAGE)  ## Celery's own tests of canvases, each canvas a job; ARGS="-k chord"
	@$(BIN)/python scripts/install_test_tools.py
	@$(BIN)/python scripts/canvas.py $(ARGS)

# Not a part of the tests: it fetches tqdm's source distribution.
tqdm: $(VENV)/lint.stamp  ## tqdm's own tests with the capture of bars, outside and inside of a job
	@$(BIN)/python scripts/tqdm_tests.py $(ARGS)

# A part of the tests: each of these is a case of the protocols' documents.
protocol: $(VENV)/lint.stamp $(PAGE)  ## the cases of Engine.IO's and Socket.IO's protocols
	@$(BIN)/python -m pytest --quiet tests/acceptance/test_socketio_protocol.py $(ARGS)

lint: $(VENV)/lint.stamp $(PAGE)  ## ruff, mypy, tsc and prettier
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/npm.py run check --silent

format: $(VENV)/lint.stamp $(PAGE)  ## format Python with ruff, the web part with prettier
	@$(BIN)/ruff format --quiet .
	@$(BIN)/python scripts/npm.py run format --silent

# Not a part of the tests: it asks PyPI and npm what was published since.
audit: $(VENV)/audit.stamp  ## known vulnerabilities of pinned and lowest dependencies
	@$(BIN)/python scripts/audit.py $(ARGS)

# Not a part of the tests: it needs root, debootstrap and Debian's registry.
test-rabbitmq4: $(VENV)/lint.stamp $(PAGE)  ## tests that need a broker, on RabbitMQ 4.0; SUITE=forky: 4.3
	@$(BIN)/python scripts/install_test_tools.py
	@$(BIN)/python scripts/rabbitmq4.py --suite $(SUITE) --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

# Not a part of the tests: each installs an environment of its own, without the pins.
lowest: $(VENV)/audit.stamp $(PAGE)  ## tests with the lowest versions that pyproject.toml admits
	@$(BIN)/python scripts/install_test_tools.py
	@$(BIN)/python scripts/versions.py lowest $(ARGS)

newest: $(VENV)/audit.stamp $(PAGE)  ## tests with the newest versions that pyproject.toml admits
	@$(BIN)/python scripts/install_test_tools.py
	@$(BIN)/python scripts/versions.py newest $(ARGS)

# Not a part of the tests: it needs root, buildah, debootstrap and Debian's registry.
test-images: $(VENV)/schema.stamp  ## build the image, run its programs and its doctor
	@$(BIN)/python scripts/test_images.py

# Not a part of the tests: it asks npm for KEDA's schemas.
manifests: $(VENV)/manifests.stamp  ## validate kubernetes/ against the published schemas
	@$(BIN)/python scripts/manifests.py

docs: $(VENV)/lint.stamp  ## this documentation, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

dist: $(VENV)/release.stamp $(PAGE)  ## wheel, source archive and npm package, in dist
	@rm -rf dist
	@$(BIN)/python -m build -qq
	@told=$$($(BIN)/twine --no-color check --strict dist/*) || { echo "$$told"; exit 1; }
	@$(BIN)/python scripts/npm.py pack --silent --pack-destination ../../dist >/dev/null

web: $(PAGE)  ## the page, its client and the element

bench: $(VENV)/lint.stamp $(PAGE)  ## the benchmarks that BENCHMARKS lists; two hours
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done

$(PAGE): $(SOURCES) $(SCHEMA) scripts/build_web.py scripts/npm.py | $(VENV)/schema.stamp
	@$(BIN)/python scripts/build_web.py

# Others come after it, for pip may not run twice at a time.
$(VENV)/schema.stamp: constraints.txt | $(BIN)/python
	@$(INSTALL) msgspec
	@touch $@

$(VENV)/all.stamp: $(MADE_FROM)
	@echo "taskbridge: installing into $(VENV)"
	@$(INSTALL) -e '.[all]'
	@touch $@

$(VENV)/lint.stamp: $(MADE_FROM)
	@echo "taskbridge: installing into $(VENV), with what tests and lint need"
	@$(INSTALL) -e '.[lint]'
	@touch $(VENV)/all.stamp $@

$(VENV)/release.stamp: $(MADE_FROM)
	@echo "taskbridge: installing into $(VENV), with what a release needs"
	@$(INSTALL) -e '.[release]'
	@touch $@

$(VENV)/manifests.stamp: $(MADE_FROM)
	@echo "taskbridge: installing into $(VENV), with the schemas of Kubernetes"
	@$(INSTALL) -e '.[manifests]'
	@touch $@

$(VENV)/audit.stamp: $(MADE_FROM)
	@echo "taskbridge: installing into $(VENV), with what the audit needs"
	@$(INSTALL) -e '.[audit]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'taskbridge: Python 3.11+ needed: name one, as in `make PYTHON=/path/to/python3.11`' >&2; exit 1; }
	@echo "taskbridge: making $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
