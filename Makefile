# The single entry point: `make` lists its targets. Needs Rust, Python 3.11 or newer, and make; the rest
# goes into .venv, pinned by constraints.txt. Stamps keep a step from running again without need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# cargo takes every core by itself, and steps share .venv and target/.
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

# --------------------------------------------------------------------------------------- environments

VENV := .venv
PY := $(VENV)/bin/python
STAMPS := $(VENV)/.stamps

# PYTHON makes .venv; `make PYTHON=/path/to/python3.12 test` makes it anew with that one.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for python in python3.11 python3 python; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$python; break; fi; done)
endif

# The newest versions that pyproject.toml allows, and the tests that depend on cloudpickle, NumPy or h5py.
NEWEST := .venv-newest
NEWEST_TESTS := \
	tests/unit/test_by_value.py tests/unit/test_failure.py tests/unit/test_serialisation.py \
	tests/unit/test_h5_files.py tests/cluster/test_exceptions.py tests/cluster/test_main_scripts.py \
	tests/cluster/test_numpy_arrays.py tests/cluster/test_script_classes.py tests/cluster/test_tracebacks.py \
	tests/notebooks/test_definitions.py

PYTEST_ARGS ?=
BENCH_ARGS ?=
DEMO_OUTPUT ?= demo-output

# A build for others to check must not quietly change Cargo.lock.
CARGO_LOCKED := $(if $(CI),--locked)
RUST_TESTED := -p mosaic-core -p mosaic-runtime

# The caller's Python must not leak in: no other environment, path or site packages.
unexport PYTHONPATH PYTHONHOME CONDA_PREFIX __PYVENV_LAUNCHER__
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_REQUIRE_VIRTUALENV := 1
# cargo and maturin build against the same interpreter.
export PYO3_PYTHON := $(CURDIR)/$(PY)

# Environments and editable installs hold absolute paths. In a checkout that was moved or copied, or
# when PYTHON names another interpreter, .venv is of no use: make it again.
IDENTITY := $(CURDIR) $(PYTHON)
ifneq ($(IDENTITY),$(shell cat $(STAMPS)/identity 2>/dev/null))
$(shell rm -rf $(STAMPS))
endif
ifneq ($(CURDIR),$(shell cat .bench/xoscar/.made-in 2>/dev/null))
$(shell rm -f .bench/xoscar/.made-in)
endif
ifneq ($(CURDIR),$(shell cat .bench/ray/.made-in 2>/dev/null))
$(shell rm -f .bench/ray/.made-in)
endif
# The newest versions are looked up again after a week.
ifneq ($(IDENTITY),$(shell find $(NEWEST)/.made-in -mtime -7 -exec cat {} + 2>/dev/null))
$(shell rm -f $(NEWEST)/.made-in)
endif

# Folders are listed too: their time changes when a file is added or removed.
RUST_SOURCES := $(wildcard Cargo.toml Cargo.lock rust-toolchain.toml .cargo/config.toml) $(shell \
	find rust \( -name tests -o -name benches -o -name fuzz \) -prune -o \
	\( -name '*.rs' -o -name Cargo.toml -o -type d \) -print 2>/dev/null)

say = @printf '==> %s\n' '$(1)'

# ------------------------------------------------------------------------------------------- targets

.PHONY: help
help: ## list the targets
	@echo 'usage: make TARGET'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: build ## run the ultrasound inversion on this machine; pictures in demo-output/
	$(call say,demo: inverting for the sound speed of a breast model into $(DEMO_OUTPUT)/)
	@$(PY) -m examples.ultrasound_tomography --output $(DEMO_OUTPUT)

.PHONY: test
test: test-rust test-python ## run every test (PYTEST_ARGS='-k name' narrows the Python half)

.PHONY: test-rust
test-rust: $(STAMPS)/installed ## run the tests of the Rust crates that need no Python
	$(call say,test: cargo test of mosaic-core and mosaic-runtime)
	@cargo test --quiet $(CARGO_LOCKED) $(RUST_TESTED)

.PHONY: loom
loom: $(STAMPS)/installed ## try every order of events in what is nearly lock-free; some minutes the first time
	$(call say,loom: mailbox, lanes and recorder of mosaic-runtime)
	@CARGO_TARGET_DIR=target/loom RUSTFLAGS='--cfg mosaic_loom' cargo test --quiet $(CARGO_LOCKED) -p mosaic-runtime --release --lib loom

.PHONY: test-python
test-python: build ## run the tests of behaviour through the public interface
	$(call say,test: pytest)
	@$(PY) -m pytest $(PYTEST_ARGS)

.PHONY: test-newest
test-newest: build $(NEWEST)/.made-in ## test with the newest versions that pyproject.toml allows, where those matter
	$(call say,test-newest: $(shell $(NEWEST)/bin/python -m pip freeze 2>/dev/null | grep -E '^(cloudpickle|h5py|numpy)=' | tr '\n' ' '))
	@VIRTUAL_ENV='$(CURDIR)/$(NEWEST)' $(NEWEST)/bin/python -m pytest $(NEWEST_TESTS) $(PYTEST_ARGS)

.PHONY: lint
lint: build ## check formatting, lints and types, Rust and Python
	$(call say,lint: cargo fmt)
	@cargo fmt --all --check
	$(call say,lint: ruff)
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check .
	$(call say,lint: import contracts and structure of the Python package)
	@$(VENV)/bin/lint-imports --no-cache --no-logo
	@$(PY) tools/structure.py
	$(call say,lint: mypy)
	@$(PY) -m mypy --no-error-summary
	$(call say,lint: stubs of mosaic._core against the built module)
	@$(PY) -m mypy.stubtest --concise mosaic._core
	$(call say,lint: cargo clippy)
	@cargo clippy --quiet $(CARGO_LOCKED) --workspace --all-targets -- -D warnings

.PHONY: format
format: $(STAMPS)/installed ## rewrite formatting and import order, Rust and Python
	$(call say,format: cargo fmt and ruff)
	@cargo fmt --all
	@$(PY) -m ruff check --quiet --select I --fix .
	@$(PY) -m ruff format --quiet .

.PHONY: bench
bench: bench-rust bench-peers ## measure: criterion benches, then mosaic beside others in one run

.PHONY: bench-rust
bench-rust: $(STAMPS)/installed ## run the criterion benches of core and runtime
	$(call say,bench: criterion benches of mosaic-core and mosaic-runtime)
	@cargo bench $(CARGO_LOCKED) $(RUST_TESTED)

.PHONY: bench-peers
bench-peers: build .bench/xoscar/.made-in .bench/ray/.made-in ## measure beside bare sockets, xoscar and Ray (BENCH_ARGS='--row call')
	$(call say,bench: bare sockets and xoscar and Ray and mosaic in turn; results in .bench/results.jsonl)
	@$(PY) -m benches.peers $(BENCH_ARGS)

.PHONY: bench-growth
bench-growth: build ## measure how cost grows with tesserae and pending calls
	$(call say,bench: growth with 1 to 10000 tesserae and 1 k to 1 M pending calls)
	@$(PY) -m benches.growth $(BENCH_ARGS)

.PHONY: soak
soak: build ## run a bit of everything for ten minutes; fails if memory grows (BENCH_ARGS='--minutes 3')
	$(call say,soak: ten minutes of calls and failures and arrays and deaths)
	@$(PY) -m benches.soak $(BENCH_ARGS)

.PHONY: docs
docs: $(STAMPS)/installed ## build the reference of the Rust crates into target/doc
	$(call say,docs: rustdoc into target/doc)
	@RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --quiet $(CARGO_LOCKED) --workspace --no-deps --document-private-items

.PHONY: build
build: $(STAMPS)/built ## make .venv and build the extension into it, if anything changed

.PHONY: pins
pins: ## resolve constraints.txt and those of benches/peers again
	$(call say,pins: resolving pyproject.toml and xoscar and Ray in scratch environments)
	@bash tools/pins.sh '$(PYTHON)'

.PHONY: clean
clean: ## remove everything that make made
	$(call say,clean: removing .venv and $(NEWEST) and target and .bench and caches and demo output)
	@rm -rf $(VENV) $(NEWEST) target .bench $(DEMO_OUTPUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -f python/mosaic/_core*.so python/mosaic/_core*.pyd
	@find python tests benches examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# -------------------------------------------------------------------------------------------- steps

$(STAMPS)/identity:
	@if [ -z '$(PYTHON)' ] || ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo 'error: Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3' >&2; exit 1; fi
	@if ! command -v cargo >/dev/null; then \
		echo 'error: Rust is needed: cargo is not on the PATH' >&2; exit 1; fi
	$(call say,venv: making $(VENV) with $(PYTHON))
	@$(PYTHON) -m venv --clear $(VENV)
	@mkdir -p $(STAMPS)
	@echo '$(IDENTITY)' > $@

$(STAMPS)/installed: constraints.txt $(STAMPS)/identity
	$(call say,venv: installing what constraints.txt pins)
	@$(PY) -m pip install --quiet --no-deps -r constraints.txt
	@touch $@

# Old modules go first: one of another Python, or of before a move, must not be found instead.
$(STAMPS)/built: $(RUST_SOURCES) pyproject.toml $(STAMPS)/installed
	$(call say,build: mosaic._core in release profile; some minutes the first time)
	@rm -f python/mosaic/_core*.so python/mosaic/_core*.pyd
	@PIP_QUIET=1 PIP_CONSTRAINT=constraints.txt $(PY) -m maturin develop --quiet --release $(CARGO_LOCKED) --extras demo,dev
	@$(PY) -m pip check --quiet
	@$(PY) -c 'import mosaic._core'
	@touch $@

# It imports the extension from the tree: the interpreter must be the one of .venv.
$(NEWEST)/.made-in: pyproject.toml tools/newest.sh | $(STAMPS)/built
	$(call say,newest: installing what pip finds newest for pyproject.toml into $(NEWEST))
	@bash tools/newest.sh $(PY) $(NEWEST)
	@echo '$(IDENTITY)' > $@

.bench/xoscar/.made-in: benches/peers/constraints.txt $(STAMPS)/identity
	$(call say,bench: installing what benches/peers/constraints.txt pins into .bench/xoscar)
	@$(PYTHON) -m venv --clear .bench/xoscar
	@.bench/xoscar/bin/python -m pip install --quiet --no-deps -r benches/peers/constraints.txt
	@.bench/xoscar/bin/python -m pip check --quiet
	@echo '$(CURDIR)' > $@

# Ray has no wheels for some machines and interpreters: the comparison then goes on without it.
.bench/ray/.made-in: benches/peers/constraints-ray.txt $(STAMPS)/identity
	$(call say,bench: installing what benches/peers/constraints-ray.txt pins into .bench/ray)
	@if $(PYTHON) -m venv --clear .bench/ray \
		&& .bench/ray/bin/python -m pip install --quiet --no-deps -r benches/peers/constraints-ray.txt \
		&& .bench/ray/bin/python -m pip check --quiet; \
	then echo '$(CURDIR)' > $@; \
	else echo 'note: Ray could not be installed, and is left out'; rm -rf .bench/ray; fi
