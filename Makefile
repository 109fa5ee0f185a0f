# Two commands for a newcomer: `make up` and `make test`. Needs make, git and a Python; gets everything else by itself.
.DEFAULT_GOAL := help
.PHONY: help up down reset status check format test api-check bench bench-chat crash fill simulate heal docs lock

# uv from the PATH, else a copy of our own, pinned by hash.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
# The machine's own certificates where it has some: behind a company's proxy nothing else works.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/*.crt /etc/pki/tls/certs/*.crt),true,false)
PYTHONS := >=3.11,<3.13
BIN := .venv/bin
READY := .venv/.ready
ADRIATIC := $(BIN)/adriatic
# `make test ARGS="-k chunks"`: further words for pytest (and for up, status, bench).
ARGS ?=
# Else each of our processes, and they are many, would compile the same sources anew.
unexport PYTHONDONTWRITEBYTECODE

up: $(READY)  ## install and start everything; prints what runs where and what to try next
	@$(ADRIATIC) up $(ARGS)

down: $(READY)  ## stop everything; data stay
	@$(ADRIATIC) down

reset: $(READY)  ## stop everything and delete its data (YES=1: do not ask)
	@$(ADRIATIC) reset $(if $(YES),--yes)

status: $(READY)  ## what runs, how far behind, what needs you
	@$(ADRIATIC) status $(ARGS)

check: $(READY)  ## format, lint, types, imports
	@$(BIN)/ruff format --check --quiet . && echo "format: ok"
	@$(BIN)/ruff check --quiet . && echo "lint: ok"
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)  ## rewrite the code in the one format
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

# All tests: by several workers, which share one stack (tests/parallel.py). Some of them: by one, which starts at once.
WORKERS := -n auto --durations=20

test: $(READY)  ## run all tests; starts what they need (ARGS="-k word": some of them)
	@$(BIN)/pytest $(or $(ARGS),$(WORKERS))

api-check: $(READY)  ## ask the API what its document says, at length (ARGS="--cases 100 --seconds 3600 --seed 7")
	@$(BIN)/python -m tests.api.promises $(ARGS)

bench-chat: $(READY)  ## what our gateway adds to a model's answers, beside LiteLLM's proxy (ARGS="--quick")
	@$(BIN)/python -m bench.gateway $(ARGS)

bench: $(READY)  ## measure the running system: latency, throughput, memory, start times
	@$(BIN)/python -m bench $(ARGS)

crash: $(READY)  ## kill and hang everything at random on a copy, at length (ARGS="--seeds 20 --minutes 5")
	@$(BIN)/python -m tests.crash $(ARGS)

fill: $(READY)  ## fill one tenant with a great many passages while every process is killed (ARGS="--passages 1000000 --every 60")
	@$(BIN)/python -m tests.crash.fill $(ARGS)

simulate: $(READY)  ## run change capture in a simulated world (ARGS="--seconds 600", "--seed 7", "--mutants")
	@$(BIN)/python -m tests.connectors.capture.simulation $(ARGS)

heal: $(READY)  ## kill and stop every process in turn on a copy: is status true (ARGS="--part cdc --seconds 20")
	@$(BIN)/python -m tests.crash.heal $(ARGS)

docs: $(READY)  ## write the reference pages anew
	@$(BIN)/python -m adriatic.cli.reference

lock: $(UV)  ## pin all dependencies anew, with hashes
	@$(UV) pip compile -q pyproject.toml --group dev --universal --generate-hashes --python-version 3.11 \
	  --no-emit-index-url --no-annotate --no-header --upgrade -o requirements.lock

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Progress bars where somebody watches; one line where nobody does.
QUIET = $$([ -t 2 ] || echo --quiet)

$(READY): requirements.lock pyproject.toml Makefile | $(UV)
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --allow-existing --python "$(PYTHONS)" .venv
	@echo "installing Python packages (a few minutes the first time)" >&2
	@$(UV) pip install $(QUIET) --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.uv/bin/uv: deploy/uv.lock
	@echo "getting uv, the package installer" >&2
	@python3 -m venv .uv || { echo "python3 cannot make a virtual environment: install its venv module (python3-venv on Debian and Ubuntu), or put uv on the PATH" >&2; exit 1; }
	@.uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r deploy/uv.lock
	@touch -c $@
