# Every target sets up what it needs: a virtual environment in .venv with the exact versions of
# requirements.lock and this package. `make PYTHON=/path/to/python3.12 ...` picks the interpreter.

PYTHON ?= python3
TORCH ?= 2.13.0

BIN := .venv/bin
STAMP := .venv/.installed
LOCAL_TESTS := not ray and not deepspeed
RAY_TESTS := (ray or deepspeed) and not chaos
# The fast tests run in two processes of one thread; a file's tests stay together, for they share what
# they made.
FAST_TESTS := -n 2 --dist loadfile

COMPILE := $(BIN)/uv pip compile --quiet --no-annotate --no-header --group dev pyproject.toml

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pytest's last line is its summary; these lines name the stage that it belongs to.
stage = printf '\n== %s\n' "$(1)"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install quickstart real-models field test test-rest test-all check docs reference lock lock-check chaos benchmark clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv with the locked versions and this package

quickstart: $(STAMP) ## Run sweeps/quickstart.yaml, print its PGR table and write its report
	$(BIN)/w2s run sweeps/quickstart.yaml
	$(BIN)/w2s report sweeps/quickstart.yaml --out results/quickstart.html

real-models: $(STAMP) ## Fetch three pretrained models (404 MB) and run sweeps/real_models.yaml on the data in data/
	$(BIN)/python scripts/real_models.py
	$(BIN)/w2s run sweeps/real_models.yaml
	$(BIN)/w2s rank sweeps/real_models.yaml
	$(BIN)/w2s report sweeps/real_models.yaml --out results/real_models.html

field: $(STAMP) ## Fetch the same models and run sweeps/field.yaml, all methods side by side, on the data in data/
	$(BIN)/python scripts/real_models.py
	$(BIN)/python scripts/sentiment.py
	$(BIN)/w2s run sweeps/field.yaml
	$(BIN)/w2s rank sweeps/field.yaml
	$(BIN)/w2s report sweeps/field.yaml --out results/field.html

test: $(STAMP) ## Run the fast tests, and one real path of each kind through Ray and DeepSpeed
	@$(call stage,fast tests)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(FAST_TESTS) -m "$(LOCAL_TESTS) and not slow"
	@$(call stage,one path of each kind through Ray and DeepSpeed)
	@$(BIN)/python -m pytest -q --durations 12 -m "$(RAY_TESTS) and path"

test-rest: $(STAMP) ## Run the tests that `make test` leaves out
	@$(call stage,slow tests without Ray and DeepSpeed)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(FAST_TESTS) -m "$(LOCAL_TESTS) and slow"
	@$(call stage,the other Ray and DeepSpeed tests)
	@$(BIN)/python -m pytest -q --durations 12 -m "$(RAY_TESTS) and not path"

test-all: test test-rest ## Run every test but those of `make chaos`

check: $(STAMP) lock-check docs ## Lint, formatting, types, import contracts, documents and the lock
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(STAMP) ## Build the documents into build/site, offline; a broken link is an error
	$(BIN)/python scripts/pages.py build/pages
	cp docs/zensical.toml build/zensical.toml
	$(BIN)/zensical build --clean --strict --config-file build/zensical.toml

reference: $(STAMP) ## Write what is made from the code: sweep-file.md, tables.md, the schema, names of columns
	$(BIN)/python scripts/sweep_file.py > docs/sweep-file.md
	$(BIN)/w2s query --columns --format markdown > docs/tables.md
	$(BIN)/w2s schema > sweeps/sweep.schema.json
	$(BIN)/python scripts/sql_names.py > w2s_ray/cli/sql_names.json

chaos: $(STAMP) ## Inject faults into running sweeps, at random moments (about 45 minutes)
	$(BIN)/python -m pytest -q -s tests/chaos tests/cluster \
	  tests/cli/test_stopped.py tests/cli/test_sweep.py tests/cli/test_variants.py \
	  tests/cli/test_submit.py tests/cli/test_autoscaling.py

benchmark: $(STAMP) ## Time one grid through w2s and through a bare PyTorch loop
	$(BIN)/python benchmarks/grid.py

# torch brings the CUDA packages of its platform itself, so the lock leaves them out and holds for
# torch's CPU build too. Versions in the lock stay where the declarations allow it.
lock: $(STAMP) ## Resolve the declared dependencies and write requirements.lock, for Python 3.11 to 3.13
	mkdir -p build && echo 'torch==$(TORCH)' > build/torch.txt
	grep -v '^#' requirements.lock > build/lock.txt
	$(COMPILE) --universal --python-version 3.11 --constraint build/torch.txt --output-file build/lock.txt
	( echo "# Exact versions for Python 3.11 to 3.13, written by 'make lock'; do not edit."; \
	  grep -vE '^(nvidia-|triton|cuda-)' build/lock.txt ) > requirements.lock

lock-check: $(STAMP) ## Resolve the declarations within the lock, for each Python version
	for version in 3.11 3.12 3.13; do \
	  $(COMPILE) --python-version $$version --constraint requirements.lock --output-file /dev/null \
	    >/dev/null || exit 1; done

clean: ## Remove caches and build outputs; .venv and results stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml scripts/install.py
	@$(PYTHON) scripts/install.py
	@touch $@
