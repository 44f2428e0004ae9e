# Every target sets up what it needs: a virtual environment in .venv with the exact versions of
# requirements.lock and this package. `make PYTHON=/path/to/python3.11 ...` picks the interpreter.

PYTHON ?= python3
TORCH ?= 2.13.0

BIN := .venv/bin
STAMP := .venv/.installed
RAY_TESTS := ray or deepspeed
# They start real clusters beside whatever else the machine does, so one that fails is tried once more,
# alone; both summaries are printed.
REAL_TESTS := ($(RAY_TESTS)) and not chaos
# The fast tests run in two processes of one thread; a file's tests stay together, for they share what
# they made.
FAST_TESTS := -n 2 --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pytest's last line is its summary; these lines name the stage that it belongs to.
stage = printf '\n== %s\n' "$(1)"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install quickstart test check lock chaos benchmark clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv with the locked versions and this package

quickstart: $(STAMP) ## Run sweeps/quickstart.yaml, print its PGR table and write its report
	$(BIN)/w2s run sweeps/quickstart.yaml
	$(BIN)/w2s report sweeps/quickstart.yaml --out results/quickstart.html

test: $(STAMP) ## Run the tests: first the fast ones, then those that start Ray or DeepSpeed
	@$(call stage,fast tests)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(FAST_TESTS) -m "not ($(RAY_TESTS))"
	@$(call stage,Ray and DeepSpeed tests)
	@$(BIN)/python -m pytest -q --durations 12 -m "$(REAL_TESTS)" || { \
	  $(call stage,those that failed); \
	  $(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none -m "$(REAL_TESTS)"; }

check: $(STAMP) ## Lint, formatting, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

chaos: $(STAMP) ## Hurt running sweeps in every way we know, at random moments (about 40 minutes)
	$(BIN)/python -m pytest -q -s tests/chaos tests/cluster \
	  tests/cli/test_stopped.py tests/cli/test_sweep.py tests/cli/test_variants.py \
	  tests/cli/test_submit.py tests/cli/test_autoscaling.py

benchmark: $(STAMP) ## Time one grid through w2s and through a bare PyTorch loop
	$(BIN)/python benchmarks/grid.py

# torch brings the CUDA packages of its platform itself, so the lock names neither them nor the
# local version (+cpu) of the torch that happened to be installed.
lock: ## Resolve the declared dependencies afresh and write requirements.lock
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
	  print(*p['project']['dependencies'], *p['dependency-groups']['dev'], sep='\n')" \
	  > build/lock/declared.txt
	echo 'torch==$(TORCH)' > build/lock/constraints.txt
	build/lock/bin/python -m pip install --quiet -r build/lock/declared.txt \
	  -c build/lock/constraints.txt
	build/lock/bin/python -m pip freeze > build/lock/frozen.txt
	( echo "# Exact versions for Python 3.11, written by 'make lock'; do not edit."; \
	  grep -viE '^(w2s[-_]ray|nvidia-|triton|cuda-|-e )' build/lock/frozen.txt \
	  | sed -E 's/\+[a-z0-9.]+$$//' ) > requirements.lock
	rm -rf build/lock

clean: ## Remove caches and build outputs; .venv and results stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	  "w2s_ray needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@
