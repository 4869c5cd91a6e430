# The commands of README.md. Each makes what it needs: Python 3.11 and pip are enough.
PYTHON ?= python3.11
PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check
NEEDS = pyproject.toml setup.cfg infernet_router/__init__.py

.PHONY: demo test install run bench fuzz format clean

# Three simulated nodes, a router and a client, live. ARGS=--once ends by itself.
demo: .venv/demo
	@.venv/bin/python -m infernet_router.demo $(ARGS)

# What .ci/run runs.
test: .venv/dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	rm -f .coverage .coverage.*
	.venv/bin/coverage run -m twisted.trial tests
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report

# The router and what it needs, in .venv.
install: .venv/router

# A router in the foreground, on PORT or 4000, for the nodes in ips.txt.
run: .venv/router
	.venv/bin/twistd --nodaemon --pidfile= infernet-router

# How well jobs fare under this router and others, simulated: python -m benchmarks.routing.
bench: .venv/bench
	@.venv/bin/python -m benchmarks.routing $(ARGS)

# Looks for bodies that decode_report cannot stand, until stopped: ARGS=-max_total_time=300.
fuzz: .venv/fuzz
	@.venv/bin/python -m tests.fuzz_reports $(ARGS)

# A million requests and polls while all around the router misbehaves; ARGS="--minutes 2" for less.
soak: .venv/demo
	@.venv/bin/python -m benchmarks.soak $(ARGS)

format: .venv/dev
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf .venv .tox .coverage .coverage.* .fuzz .hypothesis .mypy_cache .ruff_cache _trial_temp* build dist *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/router: .venv/bin/python $(NEEDS)
	$(PIP) install --editable .
	@touch $@

.venv/demo: .venv/router
	$(PIP) install --editable '.[demo]'
	@touch $@

.venv/bench: .venv/router
	$(PIP) install --editable '.[bench]'
	@touch $@

.venv/fuzz: .venv/dev
	$(PIP) install --editable '.[fuzz]'
	@touch $@

.venv/dev: .venv/router
	$(PIP) install --editable '.[dev]'
	@touch $@
