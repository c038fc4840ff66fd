# Needs Python 3.11 or newer and make; everything else is put into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SECRET ?= development-only
PORT ?= 8080
ROOT ?= ./mount
# What deploys the whole stack on this machine; `sam build` and the functions need this very Python.
E2E := .venv-e2e
E2E_PYTHON ?= $(firstword $(foreach python,python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13.*/bin/python3.13),\
	$(if $(shell $(python) -V 2>/dev/null),$(python))) python3.13)

# Where `make build` puts the artefacts: .aws-sam/arm64, .aws-sam/x86_64.
BUILT := .aws-sam
ARCHITECTURES := arm64 x86_64

.PHONY: help venv run serve aws-local test build e2e e2e-built e2e-python lint format bench clean

help:  ## say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 16

venv: $(VENV)/.complete  ## make the virtual environment; a second call costs nothing

# The stamp is written last: a broken installation is made anew. It follows the pins, so that new ones are installed.
$(VENV)/.complete: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "git2efs needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V). Try: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	@echo "git2efs: making $(VENV) with $$($(PYTHON) -V) (once; a minute or so)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: venv  ## do the main job once on this machine: push, webhook, published tree
	@$(RUN) -m local demo

serve: venv  ## stay up for a real webhook: make serve SECRET=... REPOSITORY=owner/name=https://...
	@mkdir -p $(ROOT)
	@GIT2EFS_LOCAL_SECRET=$(SECRET) $(RUN) -m local serve --root $(ROOT) --port $(PORT) \
		$(if $(REPOSITORY),--repository $(REPOSITORY))

aws-local: venv  ## stand in for Parameter Store and GitHub, for `sam local`: tests/events (Ctrl-C ends it)
	@$(RUN) -m local.stand_in $(if $(HOST),--host $(HOST))

test: venv  ## run every test that needs no cloud
	@$(RUN) -m pytest -n auto $(ARGS)

# SAM and the emulator want different versions of the same things: one environment each.
$(E2E)/.complete: requirements-e2e.txt requirements-sam.txt requirements-runtime.txt
	@$(MAKE) --no-print-directory e2e-python
	@echo "git2efs: making $(E2E) (once; a minute or so)"
	@rm -rf $(E2E) && $(E2E_PYTHON) -m venv $(E2E)/emulator && $(E2E_PYTHON) -m venv $(E2E)/sam
	@$(E2E)/emulator/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-e2e.txt
	@$(E2E)/sam/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-sam.txt
	@$(E2E)/sam/bin/python -m pip install --quiet --disable-pip-version-check --target $(E2E)/runtime -r requirements-runtime.txt
	@touch $@

e2e-python:
	@$(E2E_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || \
		{ echo "make build and make e2e need Python 3.13, which Lambda runs. Try: make E2E_PYTHON=/path/to/python3.13 build"; exit 1; }

# `sam build` is silent unless it fails: what it suggests to do next is not what is next.
build: $(E2E)/.complete  ## build for both processors with SAM, into .aws-sam/<architecture>; finish, check, say the size
	@mkdir -p $(BUILT)
	@for architecture in $(ARCHITECTURES); do \
		SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION="$${AWS_DEFAULT_REGION:-us-east-1}" PATH="$(CURDIR)/$(E2E)/sam/bin:$$PATH" \
			sam build --build-dir $(BUILT)/$$architecture --cache-dir $(BUILT)/cache \
			--parameter-overrides Architecture=$$architecture >$(BUILT)/$$architecture.log 2>&1 \
			|| { cat $(BUILT)/$$architecture.log; exit 1; }; \
	done
	@$(E2E)/sam/bin/python -m tools.artefact $(ARCHITECTURES:%=$(BUILT)/%)

e2e: build  ## run the artefact in Lambda's runtime, deploy it into an AWS emulator on this machine, test both modes
	@$(MAKE) --no-print-directory e2e-built

e2e-built: venv  ## the same, with what `make build` has built already
	@GIT2EFS_TEST_E2E=$(E2E) $(RUN) -m pytest -n 2 tests/artifact tests/deployed $(ARGS)

# What the benchmarks compare with is only installed for them.
$(VENV)/.bench: $(VENV)/.complete requirements-bench.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

bench: $(VENV)/.bench  ## measure against git, GitPython and pygit2 (ARGS=--quick: a minute), into benchmarks/results.md
	@$(RUN) -m benchmarks $(ARGS)

lint: venv  ## ruff and mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: venv  ## let ruff mend what it can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

clean:  ## remove what make made
	rm -rf $(VENV) $(E2E) .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis
