# One word a wish. Each target does its own set-up; a second run of it costs less than a second.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Of each service, on the stacks of the tests: `make e2e chaos REPLICAS=2`.
ifdef REPLICAS
export RADBUS_TEST_REPLICAS := $(REPLICAS)
endif

VENV := .venv/bin
PYTEST := $(VENV)/pytest
PYTHON_FOLDERS := libs services cli tests examples triton_models deploy docs
TYPED := $(wildcard libs/*/src services/*/src) cli/src deploy/local deploy/k8s docs examples

.PHONY: help install demo up down test lint types imports unit fuzz contract integration e2e chaos whole bench bench-load bench-cost docs gallery lock soak guards manifests k8s-check k8s-live k8s-accept

help: ## show this
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

install: ## install what is missing
	@deploy/local/install.sh

demo: install ## a phantom's CT through the whole of radbus
	$(VENV)/radbus demo

up: install ## start the local stack
	$(VENV)/radbus up

down: install ## stop the local stack
	$(VENV)/radbus down

test: lint types imports unit k8s-check integration whole ## everything but bench

lint: install imports ## style and import rules
	$(VENV)/ruff check $(PYTHON_FOLDERS)
	$(VENV)/ruff format --check $(PYTHON_FOLDERS)

types: install ## mypy, strict
	$(VENV)/mypy $(TYPED)
	for model in triton_models/*/1; do (cd $$model && $(CURDIR)/$(VENV)/mypy --config-file $(CURDIR)/pyproject.toml .); done

imports: install ## who may import whom
	$(VENV)/lint-imports

unit: install ## no socket, no sleep
	$(PYTEST) tests/unit -n auto

fuzz: install ## hostile input of new kinds, for a quarter of an hour
	ulimit -v 8000000; RADBUS_FUZZ_EXAMPLES=$${RADBUS_FUZZ_EXAMPLES:-20000} $(PYTEST) tests/unit/fuzz --timeout 3000

contract: install ## snapshots of the outside contracts
	$(PYTEST) tests/contract

integration: install ## one real server each
	$(PYTEST) tests/integration

e2e: install ## whole journeys on the local stack: REPLICAS=2 of each service
	$(PYTEST) tests/e2e

chaos: install ## cut, kill, delay, fill: REPLICAS=2 of each service
	$(PYTEST) tests/chaos

soak: install ## mixed load under random faults, then the ledger: MINUTES=60 SEED=
	RADBUS_SOAK_MINUTES=$(or $(MINUTES),60) RADBUS_SOAK_SEED=$(SEED) $(PYTEST) tests/chaos/test_soak.py

guards: install ## take out one guard after another: a named test must fail
	$(VENV)/python tests/chaos/guards.py

# The soak is short here, and the same each time; `make soak` looks for what is new.
whole: install ## contract, e2e and chaos on one start of the stack
	RADBUS_SOAK_MINUTES=1 RADBUS_SOAK_SEED=1 $(PYTEST) tests/contract tests/e2e tests/chaos

bench: install ## measure, never assert
	$(PYTEST) tests/bench -s --ignore tests/bench/test_load.py --ignore tests/bench/test_cost_of_a_study.py

bench-load: install ## more than can be taken: what gives first
	$(PYTEST) tests/bench/test_load.py -s

bench-cost: install ## what a study costs, for `radbus sizing --costs bench-cost.json`
	$(PYTEST) tests/bench/test_cost_of_a_study.py -s

k8s-check: install ## images, compose and manifests, without a cluster
	$(PYTEST) tests/deploy

k8s-live: install ## the local overlay on the cluster that KUBECONFIG names, and a study through it
	deploy/k8s/live.sh

k8s-accept: install ## ask the API server that KUBECONFIG names whether it takes every object; nothing is changed
	$(VENV)/python deploy/k8s/accept.py

manifests: install ## write the manifests that are made from the code
	$(VENV)/python deploy/k8s/make_manifests.py

docs: install ## write the pages that are made from the code
	$(VENV)/python docs/generate.py
	$(VENV)/python deploy/monitoring/make_dashboards.py

gallery: install ## docs/gallery.md: pictures of phantoms through the whole stack (needs poppler-utils)
	$(VENV)/python docs/gallery.py

lock: install ## choose the newest allowed versions and pin them
	$(VENV)/uv lock --upgrade -q
	$(VENV)/uv export --frozen --all-packages --all-groups --no-emit-workspace --no-header -q -o requirements.lock
	$(VENV)/uv pip compile deploy/local/triton-requirements.in --upgrade --no-deps --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate -q -o deploy/local/triton-requirements.lock
	for list in deploy/images/build deploy/k8s/check; do \
		$(VENV)/uv pip compile $$list-requirements.in --upgrade --universal --python-version 3.11 \
			--generate-hashes --no-header --no-annotate -q -o $$list-requirements.lock; done
