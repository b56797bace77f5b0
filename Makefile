# Everything one does with this repository. CONTRIBUTING comes down to: `make test` passes.

# Where rustup puts cargo and Debian puts nginx, for shells that do not look there.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin

CARGO_DENY := $(shell command -v cargo-deny)

.DEFAULT_GOAL := help
.PHONY: help run test bench soak install

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):  *## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run:  ## run the gateway in front of a sample application; CONFIG=file names a configuration
	@tests/setup.sh run
	cargo run --locked --release -- demo $(if $(CONFIG),--config '$(CONFIG)')

test:  ## install what the tests need, then check and test everything
	@tests/setup.sh test
	@if cargo fmt --version >/dev/null 2>&1; then set -x; cargo fmt --check; \
	else echo 'skipped: cargo fmt is not installed (rustup component add rustfmt)'; fi
	@if cargo clippy --version >/dev/null 2>&1; then set -x; cargo clippy --locked --all-targets -- -D warnings; \
	else echo 'skipped: cargo clippy is not installed (rustup component add clippy)'; fi
	cargo test --locked
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps
ifdef CARGO_DENY
	cargo deny --locked check
else
	@echo 'skipped: cargo-deny is not installed (cargo install cargo-deny --locked)'
endif
	cargo run --locked --quiet -- check --config gateway.toml

bench:  ## measure: what a decision, a rule and a request cost
	@tests/setup.sh test
	cargo bench --locked

# Where the long tests leave what they measured (`CARGO_TARGET_TMPDIR`).
FAULT_MATRIX = $(or $(CARGO_TARGET_DIR),target)/tmp/fault-matrix
ENDURANCE = $(or $(CARGO_TARGET_DIR),target)/tmp/endurance

soak:  ## the end-to-end tests on a release build, the long ones too, with twenty times the random histories
	@tests/setup.sh test
	rm -rf $(FAULT_MATRIX) $(ENDURANCE)
	SLUICEGATE_SOAK=1 cargo test --locked --release --test it -- --include-ignored --skip faults:: --skip endurance::
	SLUICEGATE_SOAK=1 cargo test --locked --release --test it -- faults:: endurance:: --include-ignored --test-threads=1
	@echo '| fault | requests | failed | longest wait before | longest wait | noticed after | back after | most before | most without Redis | most after | most over all | decided alone | log lines |'
	@echo '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |'
	@cat $(FAULT_MATRIX)/*.md
	@cat $(ENDURANCE)/*.md

install:  ## install the sluicegate binary for this user
	@tests/setup.sh run
	cargo install --path . --locked
