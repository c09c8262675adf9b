# Everything runs in ./.venv, which is made on first use; nothing is installed elsewhere.
EXP = quickstart
WORKDIR =
ARGS =
PYTHON ?= python3

SHELL = /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train eval sample reconstruct interpolate continue score export report test lint flows tpu-check gpu-check torture fuzz mutate bench docs test-matrix experiment

VENV_PYTHON := .venv/bin/python
PIP_INSTALL := $(VENV_PYTHON) -m pip install -qq --disable-pip-version-check --retries 2
EXPERIMENTS := $(notdir $(basename $(wildcard experiments/[a-z]*.py)))
# Those that need the music extra.
MUSIC := polyphonic bach midi

# glibc then backs large buffers with huge pages: fewer page faults, faster steps on a CPU.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

# Through the environment, so that names with spaces or quotes reach the shell as they are.
export EXP WORKDIR

help: ## show this text
	@echo 'Usage: make TARGET [EXP=...] [WORKDIR=...] [ARGS="..."] [PYTHON=python3.11]'
	@sed -n 's/^\([a-z-]*\):.*## /  \1 : /p' Makefile | awk -F ' : ' '{ printf "%-11s %s\n", $$1, $$2 }'
	@echo 'EXP is one of: $(EXPERIMENTS)  (default: $(EXP))'
	@echo 'WORKDIR is where a run is kept; each experiment has a default.'
	@echo 'ARGS are more flags, for instance ARGS="--model=lstm --config.seed=1"; ARGS="--help" lists them.'

train: ## train EXP, or go on with the run in WORKDIR
eval: ## score the run in WORKDIR
sample: ## draw samples from the run in WORKDIR
reconstruct: ## encode and decode a sequence (ARGS: --text, --row or --midi_file)
interpolate: ## go from one sequence to another in steps
continue: ## go on with an opening (ARGS: --text, --row or --midi_file, and --prefix)
score: ## say how probable texts or pieces are (ARGS: --text, --text_file, --midi_file, --midi_dir)
export: ## write the model in WORKDIR into one file (ARGS: --output)
report: ## show what the run in WORKDIR learned, as one HTML file (ARGS: --figures=FOLDER)

# `exec` hands Ctrl-C and SIGTERM to Python itself, which saves before it ends.
train eval sample reconstruct interpolate continue score export report: experiment .venv/.runtime $(if $(filter $(MUSIC),$(EXP)),.venv/.music)
	@exec $(VENV_PYTHON) -m "experiments.$$EXP" --mode=$@ $(if $(WORKDIR),--workdir="$$WORKDIR") $(ARGS)

test: lint ## check style and types, then run the tests (ARGS go to pytest)
	@exec $(VENV_PYTHON) -m pytest $(ARGS)

lint: .venv/.dev ## check style and types only
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m ty check --python .venv

# Material warns of MkDocs 2, which the docs extra does not ask for.
docs: .venv/.docs ## build the documentation into build/site; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(VENV_PYTHON) -m mkdocs --quiet build --strict
	@echo 'Open build/site/index.html, or with search: python3 -m http.server -d build/site'

test-matrix: .venv/.created ## run the tests with the oldest and the newest versions that setup.cfg admits, on every Python here
	@exec $(VENV_PYTHON) tests/matrix.py $(ARGS)

flows: .venv/.runtime ## table of the flows: parameters, times, round-trip error
	@exec $(VENV_PYTHON) -m benchmarks.flows_table $(ARGS)

torture: .venv/.runtime ## kill, corrupt and starve small runs; check that nothing is lost
	@exec $(VENV_PYTHON) -m tests.robustness.torture $(ARGS)

mutate: .venv/.dev ## break the code in one place at a time; check that a test notices each time
	@exec $(VENV_PYTHON) -m tests.robustness.mutate $(ARGS)

fuzz: .venv/.fuzz ## feed millions of hostile inputs to every reader; check that errors are clear
	@exec $(VENV_PYTHON) -m tests.robustness.fuzz $(ARGS)

tpu-check: .venv/.runtime ## lower every program for TPU and CUDA and inspect it
	@exec $(VENV_PYTHON) -m benchmarks.lowering $(ARGS)

gpu-check: .venv/.cuda ## what this machine's GPU makes of the package: tests, same bits, products, times; into results/gpu
	@exec $(VENV_PYTHON) -m benchmarks.gpu $(ARGS)

bench: .venv/.music ## speed beside the authors' code: a table, and results/bench.json
	@exec $(VENV_PYTHON) -m benchmarks.speed $(ARGS)

experiment:
	@case ' $(EXPERIMENTS) ' in *" $$EXP "*) ;; \
	*) echo "There is no experiment '$$EXP'; EXP is one of: $(EXPERIMENTS)" >&2; exit 2 ;; esac

# A stamp is touched only after its install ended well, so a broken one is taken up again.
.venv/.created:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no '$(PYTHON)'; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, but '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1); name another: make PYTHON=python3.11" >&2; exit 2; }
	@"$(PYTHON)" -m venv --clear .venv
	@touch $@

.venv/.runtime: .venv/.created setup.cfg
	@$(call install,.[quickstart],runtime packages (about 1 GB))
	@touch $@

.venv/.music: .venv/.runtime
	@$(call install,.[music],music packages (about 0.3 GB))
	@touch $@

.venv/.docs: .venv/.runtime
	@$(call install,.[docs],documentation packages (about 0.1 GB))
	@touch $@

# Without a wheel pip would try to compile LLVM's libFuzzer.
.venv/.fuzz: .venv/.music
	@export PIP_ONLY_BINARY=atheris; $(call install,.[fuzz],fuzzer (0.1 GB; only for Python 3.11 to 3.14 on x86-64 Linux))
	@touch $@

.venv/.dev: .venv/.music
	@$(call install,.[dev],developer packages (about 0.2 GB))
	@touch $@

.venv/.cuda: .venv/.dev
	@$(call install,.[cuda],JAX for CUDA 13 (about 3 GB))
	@touch $@

define install
echo 'Installing the $(2) into .venv, once; this needs the network ...' >&2; \
$(PIP_INSTALL) --editable '$(1)' || { \
echo 'The install failed; what pip says about it is above. It needs the network this one time' \
'(or a mirror in PIP_INDEX_URL, a proxy in HTTPS_PROXY); then give the same command again.' >&2; exit 2; }
endef
