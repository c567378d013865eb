# The first interpreter that runs; the tools find the others themselves.
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && echo $$python && break; done)
ifeq ($(PYTHON),)
$(error tach needs Python 3.10 or later on PATH)
endif
RUN := $(PYTHON) tools/run.py
PY :=
ARGS :=

.PHONY: help demo test lint types bench clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

demo: ## measure a small eventlet service of examples/ and print the table
	@$(RUN) demo tach examples/demo/tach.yaml python -W ignore examples/demo/service.py

test: ## lint, types, and the tests on every Python that is here (PY=3.12: on that one; ARGS=...: for pytest)
	@$(PYTHON) tools/check.py --only="$(PY)" --args="$(ARGS)"

lint: ## look for mistakes and bad style
	@$(RUN) test,dev ruff check .
	@$(RUN) test,dev ruff format --check .

types: ## check the type annotations
	@$(RUN) test,dev mypy

bench: ## measure what a measured call costs, and the start, and the sender
	@$(RUN) bench python benchmarks/run.py $(ARGS)

clean: ## remove everything that make has made
	rm -rf .venv node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
