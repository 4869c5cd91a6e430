# Every target installs what it needs into .venv. That takes a Python from 3.11 on, with pip.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$python -c $(NEW_ENOUGH) 2> /dev/null && echo $$python && break; done)
NEW_ENOUGH = 'import sys; sys.exit(sys.version_info < (3, 11))'
PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check
LOCK = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(ARGS)
PACKAGE = pyproject.toml setup.cfg setup.py infernet_router/__init__.py
UNIT_TESTS = $(shell find tests -name 'test_*.py' -not -path 'tests/integration/*')
# Tests that run at a time: more than there are processors, as many of them mostly wait.
JOBS ?= 4

.PHONY: help demo run install quick test minimum lint format bench soak fuzz lock release clean
.DELETE_ON_ERROR:

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 17

demo: .venv/demo ## Watch the router beside the rule of the public one; ARGS=--once ends by itself.
	@.venv/bin/python -m infernet_router.demo $(ARGS)

run: .venv/router ## Run a router on PORT, 4000 by default, for the nodes in ips.txt.
	.venv/bin/twistd --nodaemon --pidfile= infernet-router

install: .venv/router ## Install the router.

quick: lint ## Lint, check types and run the unit tests: for every change.
	.venv/bin/python -m twisted.trial -j$(JOBS) $(UNIT_TESTS)

test: lint ## Lint, check types, run all tests and measure coverage: what .ci/run runs.
	rm -f .coverage .coverage.*
	.venv/bin/coverage run -m twisted.trial -j$(JOBS) tests
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report
	@for program in chromedriver chromium curl nginx node promtool; do command -v $$program > /dev/null || \
		echo "$$program IS MISSING: the tests that need it were skipped; .ci/run installs it" >&2; done

minimum: .venv/release ## Run all tests with the oldest dependencies that setup.cfg allows.
	rm -rf .venv-minimum
	$(PYTHON) -m venv .venv-minimum
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv-minimum/bin/python \
		--resolution lowest-direct --editable '.[dev]'
	.venv-minimum/bin/python -m twisted.trial -j$(JOBS) tests

lint: .venv/dev ## Lint and check types.
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/dev ## Fix what ruff can fix, and format the code.
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: .venv/bench ## Compare routing policies in simulation; ARGS=--help shows the options.
	@.venv/bin/python -m benchmarks.routing $(ARGS)

soak: .venv/bench ## Send a router a million requests while its surroundings misbehave; ARGS="--minutes 2".
	@.venv/bin/python -m benchmarks.soak $(ARGS)

fuzz: .venv/fuzz ## Fuzz the report decoder until stopped; ARGS=-max_total_time=300 limits it.
	@.venv/bin/python -m tests.fuzz_reports $(ARGS)

lock: .venv/release ## Pin the versions in requirements/ anew, as setup.cfg has changed; ARGS=--upgrade.
	$(LOCK) setup.cfg --extra redis --output-file requirements/router.txt
	$(LOCK) setup.cfg --output-file requirements/dev.txt --extra dev
	$(LOCK) setup.cfg --output-file requirements/release.txt --extra release
	sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml | $(LOCK) - --output-file requirements/build.txt

release: .venv/dev .venv/release ## Build and check a release in dist/; ARGS=--trial needs no tag.
	@.ci/release $(ARGS)

clean: ## Remove everything that make and the tools have created.
	rm -rf .venv .venv-minimum .tox .coverage .coverage.* .fuzz .hypothesis .mypy_cache .ruff_cache _trial_temp* build dist *.egg-info

.venv/bin/python:
	@$(or $(PYTHON),false) -c $(NEW_ENOUGH) || \
		{ echo 'There is no Python 3.11 or later here. Name one: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/router: .venv/bin/python $(PACKAGE)
	$(PIP) install --editable .
	@touch $@

.venv/demo: .venv/router
	$(PIP) install --editable '.[demo]'
	@touch $@

.venv/bench: .venv/router
	$(PIP) install --editable '.[bench]'
	@touch $@

.venv/dev: .venv/router requirements/dev.txt
	$(PIP) install --require-hashes --requirement requirements/dev.txt
	$(PIP) install --editable '.[dev]'
	@touch $@

.venv/release: .venv/router requirements/release.txt
	$(PIP) install --require-hashes --requirement requirements/release.txt
	@touch $@

.venv/fuzz: .venv/dev
	$(PIP) install --editable '.[fuzz]'
	@touch $@
