# Vitrine: `make run` and `make test` set up what they need, inside this folder.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# `make run DATA=path/to/data` learns from a data folder instead of the built-in world.
DATA ?=
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup storefront proto run test test-unit check sbom bench format clean

help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## Environments, Triton and protobuf modules, all inside this folder
	@$(PYTHON) scripts/bootstrap.py

run: setup ## Train if there is no release, start the stack, show a first answer, serve until Ctrl-C
	@exec $(BIN)/vitrine up --first-answer $(if $(DATA),--data $(DATA))

storefront: ## The example storefront in Node, ready to start; its tests are skipped without
	@$(PYTHON) scripts/bootstrap.py --storefront

test: ## Every test this machine can run; says what was skipped and why
	@$(PYTHON) scripts/bootstrap.py --for-tests --storefront
	@$(PYTEST) -q

test-unit: setup ## The quick part
	@$(PYTEST) -q -n auto --dist worksteal tests/unit

check: setup ## Lint, types and the decisions kept by tests: exactly what CI runs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/audit.py
	@$(PYTEST) -q tests/design

sbom: setup ## The bill of materials, CycloneDX, to standard output
	@$(BIN)/python scripts/sbom.py

bench: setup ## The benchmark suite into docs/benchmarks.md
	@$(BIN)/vitrine bench all

format: setup ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove environments and generated files; the state in .vitrine stays
	@rm -rf .venv .triton .peers .mypy_cache .ruff_cache .pytest_cache *.egg-info serving/proto/*_pb2* examples/storefront-node/node_modules examples/storefront-node/dist
