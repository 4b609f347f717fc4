# `make up` and `make test` are the two commands; each sets itself up with nothing but Python 3.11 or newer.

# Dozens of Python programs are started by each target: without its compiled form kept, each compiles all that it loads.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
# Another interpreter has an environment of its own.
VENV   := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
RUN    := $(VENV)/bin
READY  := $(VENV)/.ready
FILES  ?=
NODES  ?= 3
WORKERS ?= 3
# Neighbours stay in one process, with what they share; who has nothing left to do takes from the others.
PYTEST  = $(RUN)/python -m pytest -n $(WORKERS) --dist worksteal
FAULT_WORKERS ?= 4
TIMES  ?= 1
LOAD   ?= 0
KILLS  ?= 200
SEED   ?= 1
CASES  ?= 2000
ONLY   ?=

.PHONY: differential docs lock audit up screenshots test test-python test-all test-slow test-often failing-before mutants bench bench-quick bench-scale test-faults soak lint types clean help

help:            ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# What `make up` needs is a third of what the tests need.
UP     := $(if $(wildcard $(READY)),$(READY),$(VENV)/.ready-ui)

$(READY): EXTRA := dev
$(VENV)/.ready-ui: EXTRA := ui,embedded,formats
$(READY) $(VENV)/.ready-ui: pyproject.toml Makefile
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && uv pip install --quiet --python $(RUN)/python -e '.[$(EXTRA)]'; \
	else \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "opskit needs Python 3.11 or newer; say make PYTHON=python3.12")' && \
	  $(PYTHON) -m venv $(VENV) && echo 'installing (a minute or two the first time)' && \
	  $(RUN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRA)]'; \
	fi
	@touch $@

up: $(UP)        ## embedded PostgreSQL, migration, sample files (or FILES=dir), three nodes, page and API
	@$(RUN)/opskit up --nodes $(NODES) $(FILES)

# Two for each core: a test often waits, for a server or for a program that starts.
test test-often: WORKERS := $(shell $(PYTHON) -c 'import os; print(min(2 * (os.cpu_count() or 1), 16))')
test: $(READY)   ## the tests that take seconds each
	@$(PYTEST) -m 'not slow and not browser'

test-python: $(READY) ## what depends on the interpreter: make PYTHON=python3.13 test-python
	@$(PYTEST) -m 'not slow and not browser' tests/database/test_connections.py tests/worker/test_child.py \
	  tests/queue/test_enqueuing.py tests/worker/test_worker.py tests/worker/test_bad_ends.py tests/files/test_samples.py \
	  tests/files/test_inspecting.py tests/files/test_loading.py tests/files/test_rejections.py tests/queue/test_completing.py \
	  tests/stats/test_stats.py tests/web/test_api_*.py tests/database/test_embedded.py tests/database/test_read_only.py

test-all: $(READY) ## all tests, slow ones and the browser's too (alone: a browser needs the machine for itself)
	@$(PYTEST) -m 'not browser' && $(RUN)/python -m pytest -m browser

test-often: TIMES := 10
test-often: $(READY) ## `make test` TIMES=10 times in a row, beside LOAD=4 busy processes if told; a line a run, exit 1 at any failure
	@$(RUN)/python tests/faults/runs.py --times $(TIMES) --load $(LOAD) --workers $(WORKERS) --marks 'not slow and not browser' tests

test-faults: $(READY) ## the fault suite, slow ones too: real kills, cuts, failovers, full disks; TIMES=10 writes figures
	@$(RUN)/python tests/faults/runs.py --times $(TIMES) --workers $(FAULT_WORKERS) \
	  $(if $(filter-out 1,$(TIMES)),--figures benchmarks/results/faults.json)

soak: $(READY)   ## a storm of random kills, KILLS=1000 SEED=1: prints its figures, exit 1 if a promise is broken
	@$(RUN)/python -m tests.faults.soak --kills $(KILLS) --seed $(SEED) \
	  $(if $(filter 1000,$(KILLS)),--figures benchmarks/results/soak.json)

differential: $(READY) ## CASES=200000 generated files through the readers and through independent ones: exit 1 if any is read otherwise
	@nice -n 19 $(RUN)/python -m tests.files.differential --cases $(CASES) --seed $(SEED) --processes $(WORKERS) \
	  $(if $(filter 200000,$(CASES)),--figures benchmarks/results/readers-differential.json)

mutants: $(READY) ## a few hundred one-line faults, one after the other: each must be noticed by the tests; ONLY=requeue for some
	@$(RUN)/python -m tests.mutants $(if $(ONLY),--only '$(ONLY)',--figures benchmarks/results/mutants.json)

failing-before: $(READY) ## the tests of this version's rules against the first version, from the history: which of them fail on it
	@nice -n 10 $(RUN)/python -m tests.older.failing_before --workers $(WORKERS) --figures benchmarks/results/failing-before.json

bench: $(READY)  ## every goal: the floor, opskit and the peers on one PostgreSQL, ten million rows, a pinned xmin (a quarter of an hour on a quiet machine)
	@$(RUN)/python benchmarks/all.py

bench-quick: $(READY) ## the same with small sizes, in about three minutes
	@$(RUN)/python benchmarks/all.py --quick

bench-scale: $(READY) ## a table of ten million rows: each query with its plan, each page (half an hour; needs 10 GB)
	@cd benchmarks && ../$(RUN)/python scale.py && ../$(RUN)/python page.py --rows 1000 1000000 10000000

test-slow: $(READY) ## only what `make test` leaves out
	@$(PYTEST) -m 'slow and not browser' && $(RUN)/python -m pytest -m browser

screenshots: $(READY) ## take README's pictures of the page anew
	@$(RUN)/python -m tests.support.screenshots

docs: $(READY)   ## the documentation into site/, strict; its generated parts are written first
	@$(RUN)/python docs/generate.py && NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict --quiet && echo 'open site/index.html'

lock: $(READY)   ## requirements.lock anew: the versions that are installed here, and pass the tests
	@$(RUN)/python .ci/lock.py > requirements.lock.new && mv requirements.lock.new requirements.lock

audit:           ## known vulnerabilities in what is locked
	@.ci/audit

lint: $(READY)   ## ruff, and that every package imports only lower ones
	@$(RUN)/ruff check . && $(RUN)/ruff format --check . && $(RUN)/lint-imports --no-logo

types: $(READY)  ## mypy, strict
	@$(RUN)/mypy

clean:           ## remove what make made; the embedded server's data stays in .opskit
	@rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache
