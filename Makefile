# The first interpreter that runs; the tools find the others themselves.
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && echo $$python && break; done)
ifeq ($(PYTHON),)
$(error tach needs Python 3.10 or later on PATH)
endif
RUN := $(PYTHON) tools/run.py
PY :=
ARGS :=
BENCH := ../shared/nova/bench
NOVA := 29.4.0

.PHONY: help demo picture dist test lint types bench soak conformance nova clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## measure a small eventlet service of examples/ and print the table
	@$(PYTHON) tools/demo.py

picture: ## take the picture of the README anew
	@$(RUN) demo env PYTHONPATH=tools python tools/picture.py

dist: ## build the packages, install them into clean environments and try them
	@$(PYTHON) tools/dist.py

test: ## lint, types, and the tests on every Python that is here (PY=3.12: on that one; ARGS=...: for pytest)
	@$(PYTHON) tools/check.py --only="$(PY)" --args="$(ARGS)"

lint: ## look for mistakes and bad style
	@$(RUN) test,dev ruff check .
	@$(RUN) test,dev ruff format --check .

types: ## check the type annotations
	@$(RUN) test,dev mypy

bench: ## measure what tach costs, beside its peers (ARGS="--only peers --write": put that into docs/; --quick)
	@$(RUN) bench,bus,test python -W ignore benchmarks/run.py $(ARGS)

soak: ## see whether anything grows in 100 million calls, 100,000 exceptions, 40,000 forks (ARGS="--calls 1000000")
	@$(RUN) bench,bus,test python -W ignore benchmarks/soak.py $(ARGS)

conformance: ## run other people's test suites with and without tach (ARGS="pluggy click", --subset ci)
	@$(RUN) test env PYTHONPATH=tools python conformance/run.py $(ARGS)

nova: ## measure a real Nova and compare it with one without tach (BENCH=... NOVA=34.0.0): examples/nova/
	@examples/nova/run "$(BENCH)" "$(NOVA)"

clean: ## remove everything that make has made
	rm -rf .venv node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
