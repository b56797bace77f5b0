# Everything one does with this repository. CONTRIBUTING comes down to: `make test` passes.

# Where rustup puts cargo and Debian puts nginx, for shells that do not look there.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin

CARGO_DENY := $(shell command -v cargo-deny)

.DEFAULT_GOAL := help
.PHONY: help run test bench soak fuzz install

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
# Advisories are news of the day, and come from GitHub: a workflow asks for them daily. What is asked
# here depends on this repository alone. It is not installed for it: that compiles for minutes.
ifdef CARGO_DENY
	cargo deny --locked check licenses bans sources
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

# The targets of tests/fuzz, how many inputs each gets, and where inputs that reach something new stay.
TARGETS = head body path forwarded config replies keys
RUNS = 10000000
FUZZ = $(or $(CARGO_TARGET_DIR),target)/fuzzing
# Coverage for libFuzzer, which bolero brings along; it takes a nightly Rust. The gateway's own binary is
# built beside the targets and linked without a fuzzer: what it lacks stays open, and nobody runs it.
FUZZ_FLAGS = --cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module \
	-Clink-arg=-Wl,--unresolved-symbols=ignore-all $(addprefix -Cllvm-args=-sanitizer-coverage-, \
	inline-8bit-counters level=4 pc-table trace-compares)

fuzz:  ## fuzz with ten million inputs a target, guided by coverage: RUNS and TARGETS say otherwise
	@for target in $(TARGETS); do mkdir -p $(FUZZ)/$$target; echo "== $$target"; \
	BOLERO_FUZZER=libfuzzer RUSTFLAGS='$(FUZZ_FLAGS)' BOLERO_LIBFUZZER_ARGS="$(FUZZ)/$$target \
	tests/fuzz/__fuzz__/$$target/corpus -runs=$(RUNS) -artifact_prefix=$(FUZZ)/$$target-" \
	cargo +nightly test --locked --profile fuzz --target $$(rustc -vV | sed -n 's/^host: //p') \
	--target-dir $(FUZZ)/build --test fuzz -- "::$${target}_" --nocapture --test-threads 1 || exit 1; done

install:  ## install the sluicegate binary for this user
	@tests/setup.sh run
	cargo install --path . --locked
