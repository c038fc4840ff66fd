# Needs Python 3.11 or newer and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Install what a lock file names: check the hashes, and build nothing, since a build would run code without a hash.
LOCKED := --quiet --disable-pip-version-check --require-hashes --only-binary :all:
INSTALL := -m pip install $(LOCKED)
SECRET ?= development-only
PORT ?= 8080
ROOT ?= ./mount
# SAM and the emulator, which deploy the whole stack on this machine; `sam build` and the functions need this very Python.
E2E := .venv-e2e
E2E_PYTHON ?= $(firstword $(foreach python,python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13.*/bin/python3.13),\
	$(if $(shell $(python) -V 2>/dev/null),$(python))) python3.13)

# What `make fuzz` runs in, and for how long.
FUZZ := .venv-fuzz
SECONDS ?= 600

# Where `make build` puts the artefacts: .aws-sam/arm64, .aws-sam/x86_64. `sam deploy` takes the first, unless it is told.
BUILT := .aws-sam
ARCHITECTURES := arm64 x86_64
BUILDS := $(ARCHITECTURES:%=$(BUILT)/%)
# What `make deploy` remembers, and git ignores.
CONFIG ?= deploy.toml
# What is in the artefact: with SSH=1 the client for urls for SSH too. The tools read it.
export GIT2EFS_LOCK := $(if $(SSH),locks/ssh.txt,requirements.txt)
# The wheels for this machine, and for Lambda's two processors. Amazon Linux 2023 has glibc 2.34.
WHEELS := $(BUILT)/wheels$(if $(SSH),-ssh)
PROCESSORS := aarch64 x86_64
GLIBCS := 2_17 2_28 2_34

.PHONY: help venv run serve aws-local test test-all build rebuild deploy accept e2e e2e-built e2e-python lint format bench soak fuzz lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 16

venv: $(VENV)/bin/git2efs  ## make the virtual environment, with the git2efs command, unless it is there

# The stamp is written last, so that a broken installation is made anew. It depends on the lock, so that new versions are
# installed.
$(VENV)/.complete: locks/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "git2efs needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V). Try: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	@echo "git2efs: making $(VENV) with $$($(PYTHON) -V) (once; a minute or so)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(RUN) $(INSTALL) -r locks/dev.txt
	@touch $@

# Whoever names a Python gets an environment of it: one of another is made anew. Without a name, what is there stays.
ifneq ($(origin PYTHON),file)
ifneq ($(wildcard $(VENV)/.complete),)
SAY_PYTHON := -c 'import sys; print(sys.version)'
ifneq ($(shell $(PYTHON) $(SAY_PYTHON) 2>/dev/null),$(shell $(RUN) $(SAY_PYTHON) 2>/dev/null))
.PHONY: another-python
another-python:
$(VENV)/.complete: another-python
endif
endif
endif

# The command runs this folder's source. `-P`: what lies in the folder where it is called is not imported.
$(VENV)/bin/git2efs: $(VENV)/.complete
	@printf '%s\n' '#!/bin/sh' \
		'PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" exec "$(CURDIR)/$(RUN)" -P -m handler.cli "$$@"' >$@
	@chmod +x $@

run: venv  ## show the main job on this machine: push, webhook, published tree
	@$(RUN) -m local demo

# `exec`: a signal that ends this recipe's shell ends the server, and leaves no orphan.
serve: venv  ## serve a real webhook: make serve SECRET=... REPOSITORY=owner/name=https://...
	@mkdir -p $(ROOT)
	@export GIT2EFS_LOCAL_SECRET='$(SECRET)' && exec $(RUN) -m local serve --root $(ROOT) --port $(PORT) \
		$(if $(REPOSITORY),--repository $(REPOSITORY))

aws-local: venv  ## stand in for Parameter Store, SQS and GitHub, for `sam local` (Ctrl-C ends it)
	@exec $(RUN) -m local.stand_in $(if $(HOST),--host $(HOST))

test: venv  ## run the tests, with a sample where there are many cases
	@$(RUN) -m pytest -n auto $(ARGS)

# What is about the side that fetches is the same however the other side is reached; two files reach it so in any run.
ONE_SIDE := $(foreach file,answers bombs burst deploy_keys endless_remotes github_app heartbeat invoke leaked_secret \
	monitoring own_secret owners private_networks rotation secrets secrets_manager setup soak statuses two_drivers waking,\
	--ignore=tests/functional/test_$(file).py)

test-all: $(VENV)/.bench  ## run every case of every test that needs no deployed stack
	@$(RUN) -m pytest -n auto --all $(ARGS)
	@echo "git2efs: once more, a sample, with the mount side invoked as a function"
	@$(RUN) -m pytest -n auto --transport=function tests/functional tests/crash $(ONE_SIDE) $(ARGS)

# SAM and the emulator need different versions of the same packages, so each has an environment.
$(E2E)/.complete: locks/emulator.txt locks/sam.txt locks/runtime-client.txt
	@$(MAKE) --no-print-directory e2e-python
	@echo "git2efs: making $(E2E) (once; a minute or so)"
	@rm -rf $(E2E) && $(E2E_PYTHON) -m venv $(E2E)/emulator && $(E2E_PYTHON) -m venv $(E2E)/sam
	@$(E2E)/emulator/bin/python $(INSTALL) -r locks/emulator.txt
	@$(E2E)/sam/bin/python $(INSTALL) -r locks/sam.txt
	@$(E2E)/sam/bin/python $(INSTALL) --target $(E2E)/runtime -r locks/runtime-client.txt
	@touch $@

e2e-python:
	@$(E2E_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || \
		{ echo "make build and make e2e need Python 3.13, which Lambda runs. Try: make E2E_PYTHON=/path/to/python3.13 build"; exit 1; }

# SAM asks pip for another processor's wheels by version alone, without hashes. So it gets no index, but these files; pip
# checked the hash of each when it fetched it.
$(WHEELS)/.complete: $(GIT2EFS_LOCK) $(E2E)/.complete
	@rm -rf $(WHEELS)
	@$(E2E)/sam/bin/python -m pip download $(LOCKED) --dest $(WHEELS) -r requirements.txt $(if $(SSH), -r locks/ssh.txt )
	@for processor in $(PROCESSORS); do \
		$(E2E)/sam/bin/python -m pip download $(LOCKED) --no-deps --dest $(WHEELS) -r requirements.txt $(if $(SSH), -r locks/ssh.txt ) \
			--implementation cp --python-version 3.13 $(foreach glibc,$(GLIBCS),--platform manylinux_$(glibc)_$$processor) \
			|| exit 1; \
	done
	@touch $@

build: $(WHEELS)/.complete  ## build for both processors with SAM, into .aws-sam/<architecture>, where something changed (SSH=1: for urls for SSH)
	@$(E2E)/sam/bin/python -m tools.built $(BUILDS) || $(MAKE) --no-print-directory rebuild

# Show the output of `sam build` only if it fails: the next steps that it suggests are not ours.
rebuild: $(WHEELS)/.complete
	@for architecture in $(ARCHITECTURES); do \
		SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION="$${AWS_DEFAULT_REGION:-us-east-1}" PATH="$(CURDIR)/$(E2E)/sam/bin:$$PATH" \
			PIP_NO_INDEX=1 PIP_FIND_LINKS="$(CURDIR)/$(WHEELS)" \
			sam build --manifest $(GIT2EFS_LOCK) --build-dir $(BUILT)/$$architecture --cache-dir $(BUILT)/cache \
			--parameter-overrides Architecture=$$architecture >$(BUILT)/$$architecture.log 2>&1 \
			|| { cat $(BUILT)/$$architecture.log; exit 1; }; \
	done
	@$(E2E)/sam/bin/python -m tools.artefact $(BUILDS)

# `git pull` stays possible: nothing that is tracked is written.
deploy: build venv  ## build what changed and deploy it, as deploy.toml says (first: STACK=... EMAIL=... REPOSITORY=owner/name)
	@$(E2E)/sam/bin/python -m tools.deploy --config $(CONFIG) $(if $(STACK),--stack '$(STACK)') \
		$(if $(REPOSITORY),--repository '$(REPOSITORY)') $(if $(EMAIL),--email '$(EMAIL)') $(ARGS)

# `exec`: a signal reaches the program, which deletes what it made.
accept: build venv  ## prove what is built on a real account, and delete it again (PROFILE=... REGION=... ARGS=--help)
	@exec $(RUN) -m tools.accept $(if $(PROFILE),--profile '$(PROFILE)') $(if $(REGION),--region '$(REGION)') $(ARGS)

e2e: build  ## run the artefact in Lambda's runtime, deploy it into an AWS emulator on this machine, test both modes
	@$(MAKE) --no-print-directory e2e-built

e2e-built: venv  ## the same with what `make build` built before
	@GIT2EFS_TEST_E2E=$(E2E) $(RUN) -m pytest -n 2 tests/artifact tests/deployed $(ARGS)

# The packages that the benchmarks compare and draw with are installed only for them and for their tests.
$(VENV)/.bench: $(VENV)/.complete locks/bench.txt
	@$(RUN) $(INSTALL) -r locks/bench.txt
	@touch $@

bench: $(VENV)/.bench  ## compare with git, GitPython and pygit2 (ARGS=--quick: a minute; ARGS=--record: into the project)
	@$(RUN) -m benchmarks $(ARGS)

soak: venv  ## push thousands of times, under readers, in bursts, to one mirror: most of an hour (ARGS=--help)
	@$(RUN) -m benchmarks.soak $(ARGS)

# It measures with what Lambda runs: that Python, and those packages.
$(FUZZ)/.complete: locks/fuzz.txt
	@$(MAKE) --no-print-directory e2e-python
	@rm -rf $(FUZZ) && $(E2E_PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python $(INSTALL) -r locks/fuzz.txt
	@touch $@

fuzz: $(FUZZ)/.complete  ## fuzz whatever reads what others wrote, for SECONDS=600; ends with 1 if something was found
	@$(FUZZ)/bin/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

lint: venv  ## run ruff and mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

$(VENV)/.lock: $(VENV)/.complete locks/lock.txt
	@$(RUN) $(INSTALL) -r locks/lock.txt
	@touch $@

# A version stays as it is if pyproject.toml allows it; ARGS=--upgrade asks for the newest that it allows.
lock: $(VENV)/.lock  ## write requirements.txt and locks/ from pyproject.toml (ARGS=--upgrade: newest versions)
	@$(RUN) -m tools.locks $(ARGS)

format: venv  ## let ruff fix and format what it can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

clean:  ## remove what make made
	rm -rf $(VENV) $(E2E) $(FUZZ) .fuzz .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis
