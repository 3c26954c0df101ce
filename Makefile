# The workspace's tasks. `make` or `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-oldest test-django lint types soak bench lock clean
MAKEFLAGS += --no-print-directory

VENV ?= .venv
VENV_OLDEST ?= .venv-oldest
VENV_DJANGO ?= .venv-django
PYTEST_ARGS ?=
# Test files that run beside each other, each on brokers of its own; most of a test is waiting.
JOBS ?= 2
SOAK ?=
BENCH ?=
LOCK_ARGS ?=

BIN := $(VENV)/bin
BESIDE := --numprocesses $(JOBS) --dist loadfile
MEMBERS := mqauth celery-mqauth django-mqauth credproc mqauth-sandbox

help: ## List these tasks
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv with everything pinned in it (a no-op when nothing changed)
	@scripts/bootstrap --venv $(VENV) --requirements requirements/dev.txt

demo: setup ## Watch tokens of 15 s rotate under a live worker (COMPARE=1: beside Kombu's callable password; CHAIN=1: from a certificate; DJANGO=1: a site with worker and beat)
	@$(BIN)/python -m $(if $(DJANGO),workloads.demo_django,workloads.demo $(if $(COMPARE),--compare) $(if $(CHAIN),--chain))

test: setup ## Run all tests on real brokers, newest Celery (PYTEST_ARGS="-k name" passes through)
	@$(BIN)/mqauth-sandbox prepare 3 4
	@$(BIN)/mqauth-sandbox prepare --optional kafka kafka-java helper softhsm faketime awscli chromium
	-@$(BIN)/mqauth-sandbox prepare oidc-provider # without Node its tests say why they are skipped
	@$(BIN)/pytest $(BESIDE) $(PYTEST_ARGS)

# The structure of the tree is the same whichever releases are installed.
test-oldest: ## The same tests with the oldest releases we promise to work with
	@scripts/bootstrap --venv $(VENV_OLDEST) --requirements requirements/oldest.txt
	@$(VENV_OLDEST)/bin/mqauth-sandbox prepare 3 4
	@$(VENV_OLDEST)/bin/mqauth-sandbox prepare --optional kafka kafka-java helper softhsm faketime awscli chromium
	@$(VENV_OLDEST)/bin/pytest --ignore=tests/structure $(BESIDE) $(PYTEST_ARGS)

# The pins hold a Django for each Python: the newest one wants Python 3.12.
test-django: ## The Django app on the newest Django; wants Python 3.12 or newer (PYTHON=python3.13)
	@scripts/bootstrap --venv $(VENV_DJANGO) --requirements requirements/dev.txt
	@$(VENV_DJANGO)/bin/python -c 'import django, sys; django.VERSION < (6,) and sys.exit("test-django: this is Django " + django.__version__ + ", the newest wants Python 3.12 or newer: name one with PYTHON=")'
	@$(VENV_DJANGO)/bin/mqauth-sandbox prepare 4
	@$(VENV_DJANGO)/bin/mqauth-sandbox prepare --optional chromium
	@$(VENV_DJANGO)/bin/pytest packages/django-mqauth tests/django $(PYTEST_ARGS)

lint: setup ## Check style, formatting and the import contracts of monorepo.toml
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo --config monorepo.toml

types: setup ## Check types strictly: packages, workloads, tests, scripts
	@failed=0; \
	for sources in $(addprefix packages/,$(MEMBERS)) "workloads tests scripts conftest.py"; do \
	    echo "types: $$sources"; $(BIN)/mypy $$sources || failed=1; \
	done; \
	exit $$failed

soak: setup ## The measured load (SOAK="--broker 4 --pool prefork --acks late --ttl 25 --minutes 4 --backend none")
	@$(BIN)/python -m workloads.soak $(SOAK)

bench: setup ## Publish throughput against plain pyamqp, a rotation's cost, credproc against the helper, explain
	@$(BIN)/python -m workloads.bench $(BENCH)
	@$(BIN)/python -m workloads.bench_credproc
	@$(BIN)/python -m workloads.bench_explain

# Only the public index's hashes may end up in the pins: no wheels found elsewhere, and no host named.
COMPILE = env -u UV_FIND_LINKS -u UV_INDEX -u UV_EXTRA_INDEX_URL $(BIN)/uv pip compile --quiet \
    --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
    --custom-compile-command "make lock" $(addprefix --no-emit-package ,$(MEMBERS)) $(LOCK_ARGS)

lock: setup ## Compile requirements/*.txt again (LOCK_ARGS=--upgrade: to the newest releases)
	@$(COMPILE) --group uv --output-file requirements/uv.txt
	@$(COMPILE) --group dev --output-file requirements/dev.txt
	@$(COMPILE) --group members --group build --group test --group run \
	    --constraints requirements/oldest.constraints --output-file requirements/oldest.txt
	@git diff --stat -- requirements

clean: ## Remove environments, caches and built packages
	@rm -rf $(VENV) $(VENV_OLDEST) $(VENV_DJANGO) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
