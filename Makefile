# Everything goes through here: `make` lists the targets.
#
# A fresh machine needs Rust, a C compiler, Python 3 and make; each target brings what it needs besides.

# One target directory for all of it, absolute because tests run with other working directories.
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
export DESTDIR
PREFIX ?= /usr/local
PYTHON ?= python3

RETRAIND := $(CARGO_TARGET_DIR)/release/retraind
VENV := $(CARGO_TARGET_DIR)/venv
VENV_PEERS := $(CARGO_TARGET_DIR)/venv-peers
VENV_DATA := $(CARGO_TARGET_DIR)/venv-data
VENV_SCHEDULING := $(CARGO_TARGET_DIR)/venv-scheduling
REIMPORT := tests/reimport/Cargo.toml

.DEFAULT_GOAL := help
.PHONY: help build onnxruntime demo test test-tools lint test-reimport test-crash test-systemd bench bench-peers bench-speed bench-data bench-scheduling install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the program, optimised
	cargo build --release --locked

onnxruntime: ## fetch the ONNX Runtime library into the user's cache
	@$(PYTHON) ops/fetch-onnxruntime >/dev/null

demo: build onnxruntime ## build, then show all of it on sample data in one directory
	$(RETRAIND) demo

test: test-tools lint ## install what the tests need, run the lints and every test
	cargo test --locked
	$(MAKE) --no-print-directory test-reimport

lint: ## check formatting and lints
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --check
	cargo fmt --check --manifest-path $(REIMPORT)
	cargo clippy --locked --all-targets -- -D warnings

test-tools: onnxruntime
	@PYTHON=$(PYTHON) tests/prepare postgresql
	@PYTHON=$(PYTHON) tests/prepare service
	@PYTHON=$(PYTHON) tests/prepare venv $(VENV) tests/requirements.txt

# The export test leaves the model that it exported, and what ONNX Runtime made of it, in $(CARGO_TARGET_DIR)/reimport.
test-reimport: onnxruntime ## read an exported model back with Burn's ONNX importer
	cargo test --locked --test export
	REIMPORT_DIR=$(CARGO_TARGET_DIR)/reimport cargo test --locked --manifest-path $(REIMPORT) -- --nocapture

test-crash: onnxruntime ## kill -9 daemon and workers 200 times, compare with an undisturbed run
	cargo test --locked --test crash -- --ignored --nocapture

bench: ## time the training's parts: forward and backward, packing, epochs, export (ARGS passes on to divan)
	cargo bench --locked --bench training -- $(ARGS)

bench-speed: build onnxruntime ## time an epoch beside PyTorch, Keras and its products alone (ARGS="FILE.csv… --threads 1 2")
	@PYTHON=$(PYTHON) tests/prepare venv $(VENV_PEERS) benches/peers/requirements.txt
	$(VENV_PEERS)/bin/python benches/peers/speed --retraind $(RETRAIND) $(ARGS)

bench-peers: build onnxruntime ## compare with the Keras reference training (ARGS="--help" for options)
	@PYTHON=$(PYTHON) tests/prepare venv $(VENV_PEERS) benches/peers/requirements.txt
	$(VENV_PEERS)/bin/python benches/peers/compare --retraind $(RETRAIND) $(ARGS)

bench-data: ## compare reading with psql, pandas, connectorx and polars (ARGS="--help" for options)
	@PYTHON=$(PYTHON) tests/prepare postgresql
	@PYTHON=$(PYTHON) tests/prepare venv $(VENV_DATA) benches/peers/requirements-data.txt
	cargo bench --locked --no-run --bench read
	$(VENV_DATA)/bin/python benches/peers/reading --read "$$(ls -t $(CARGO_TARGET_DIR)/release/deps/read-* | grep -v '\.d$$' | head -1)" $(ARGS)

bench-scheduling: build ## run ten thousand jobs beside tokio-cron-scheduler and APScheduler (ARGS="--help" for options)
	@PYTHON=$(PYTHON) tests/prepare venv $(VENV_SCHEDULING) benches/peers/requirements-scheduling.txt
	cargo bench --locked --no-run --bench scheduling
	$(VENV_SCHEDULING)/bin/python benches/peers/scheduling --retraind $(RETRAIND) \
		--bare "$$(ls -t $(CARGO_TARGET_DIR)/release/deps/scheduling-* | grep -v '\.d$$' | head -1)" $(ARGS)

test-systemd: build onnxruntime ## start the service in a Debian guest with a real systemd (as root; ACCEL=kvm where that works)
	tests/systemd/run $(RETRAIND) $(ARGS)

install: ## install what `make build` built (PREFIX=/usr/local, DESTDIR)
	ops/install.sh --prefix $(PREFIX)

clean: ## remove everything built
	cargo clean
