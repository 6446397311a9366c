# The way in: `make demo` and `make test` set up all that they need on a machine with a Rust toolchain and Python 3 with
# pip. Words for the programs go in ARGS, as in `make demo ARGS="--help"`.

# Everything is built in ./target and nowhere else, since the demo and the tests start programs from there by path.
override CARGO_TARGET_DIR := $(CURDIR)/target
export CARGO_TARGET_DIR
# Programs that the project brings along are found before the machine's own.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

# A lock file that does not fit the manifests is an error in CI; at a desk cargo mends it.
LOCKED := $(if $(CI),--locked)
TOOLS := deploy/local/tools
# Most tests wait for servers and for leases, and need no core meanwhile: on two cores, two at once take twice as long as four.
export RUST_TEST_THREADS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores > 4 ? cores : 4)))
ARGS ?=
OVERLAY ?= local

.DEFAULT_GOAL := help
.PHONY: help demo test kill-test crash-test redrive-test slow-test k8s-test chaos carrying list-bench model-deep fuzz api-test check build fleet jaeger tools lint-tools fuzz-tools api-tools images manifests credentials manifest-tools clean-tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: tools build ## show the whole fleet at work on this machine, end to end
	@target/release/workfleet-local demo $(ARGS)

test: tools manifest-tools ## run every test; ARGS go to cargo test
	@# The tests start the fleet's programs, and `cargo test` alone builds only those of the crate under test. With
	@# `--tests`, since cargo would choose other features of many crates without, and build them all twice.
	cargo build $(LOCKED) --workspace --bins --tests
	@# One run names everything that fails, not the first program's failures alone.
	cargo test $(LOCKED) --workspace --no-fail-fast $(ARGS)

kill-test: tools ## 1,000 tasks, and 500 of 1 MB, while workers are killed and frozen: one result each (minutes)
	cargo build $(LOCKED) --workspace --bins --tests
	@# `--workspace`, or cargo would choose other features of many crates, and build them once more.
	WORKFLEET_KILL_TEST=full cargo test $(LOCKED) --workspace --test e2e -- --nocapture --test-threads=1 exactly_one large_storm

crash-test: tools ## a killed worker's 200 tasks, a handler that blocks for a minute, and a task that kills its process (minutes)
	cargo build $(LOCKED) --workspace --bins --tests
	WORKFLEET_CRASH_TEST=full cargo test $(LOCKED) --workspace --test e2e -- --nocapture --test-threads=1 crash:: blocked:: poison::

redrive-test: tools ## redrive 500 dead letters, edited and not, while dispatchers are killed: one new result each (minutes)
	cargo build $(LOCKED) --workspace --bins --tests
	WORKFLEET_REDRIVE_TEST=full cargo test $(LOCKED) --workspace --test e2e -- --nocapture redrive_storm

slow-test: tools ## the tests that wait for a minute or more to go by
	cargo build $(LOCKED) --workspace --bins --tests
	cargo test $(LOCKED) --workspace --test broker --test worker -- --ignored

k8s-test: ## try the manifests on the cluster of KUBECONFIG; IMAGE_LOAD brings an image's tar into it, SCENARIO=a,c chooses
	cargo build $(LOCKED) --workspace --bins --tests
	cargo test $(LOCKED) --workspace --test kubernetes -- --ignored --nocapture

chaos: tools ## break fleets under load, 5,000 tasks a fault: nothing lost, nothing recorded twice (25 minutes)
	cargo build $(LOCKED) --workspace --bins --tests
	@# One row at a time, or rates before and after a fault could not be compared.
	WORKFLEET_CHAOS=full cargo test $(LOCKED) --workspace --test chaos -- --include-ignored --nocapture --test-threads=1

carrying: tools ## kill leaders and servers while thousands of delayed tasks fall due into a full queue (minutes)
	cargo build $(LOCKED) --workspace --bins --tests
	WORKFLEET_CARRYING=full cargo test $(LOCKED) --workspace --test carrying -- --include-ignored --nocapture --test-threads=2

list-bench: tools ## list a million waiting and a million ended tasks: times of first pages, memory (minutes)
	cargo build $(LOCKED) --workspace --bins --tests
	WORKFLEET_LIST_BENCH=full cargo test $(LOCKED) --workspace --test e2e -- --nocapture lists::a_first_page

model-deep: ## explore the model of settlement with more of everything at once (seven minutes)
	cargo test $(LOCKED) --workspace --test model -- --ignored --nocapture

fuzz: fuzz-tools ## make up input for everything that reads what others wrote, FUZZ_SECONDS=60 for each target; ARGS names some
	@tests/fuzz/run $(ARGS)

api-test: tools api-tools ## try a running dispatcher against its OpenAPI document; API_SECONDS=180, API_SEED, API_EXAMPLES
	cargo build $(LOCKED) --workspace --bins --tests
	cargo test $(LOCKED) --workspace --test e2e -- --ignored --nocapture api::

check: lint-tools ## everything that a change must pass: format, lints, docs, licences, spelling, tests
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --workspace --no-deps
	$(TOOLS)/deny
	.tools/bin/typos
	@$(MAKE) --no-print-directory test

build: ## build the programs for use, into target/release
	cargo build $(LOCKED) --release --workspace --exclude workfleet-tests --bins

fleet: tools build ## start a fleet on this machine and keep it up; ARGS go to `workfleet-local up`
	@target/release/workfleet-local up $(ARGS)

jaeger: ## build a real Jaeger into .tools (needs Go; minutes, once), so that traces are kept: an API, no web pages
	@$(TOOLS)/jaeger

images: ## make container images into .images, with docker or buildah; deploy/images/README.md has the variables
	@deploy/images/build

manifests: ## render the manifests anew from deploy/kubernetes/fleet.toml and its templates
	cargo run $(LOCKED) -p workfleet-kubernetes -- render

credentials: ## make the secrets of OVERLAY (local, production) that are not there yet; ARGS="--rotate app" makes one anew
	cargo run $(LOCKED) -p workfleet-kubernetes -- credentials --overlay "$(OVERLAY)" $(ARGS)

tools: ## get the NATS server into .tools
	@$(TOOLS)/nats-server

manifest-tools: ## get what checks the manifests into .tools: the schemas of Kubernetes, and kustomize where there is no kubectl
	@deploy/kubernetes/tools/kustomize
	@deploy/kubernetes/tools/kubernetes-validate

lint-tools: ## get what `make check` needs beside cargo into .tools
	@$(TOOLS)/lint-tools

fuzz-tools: ## build what `make fuzz` needs beside cargo into .tools
	@$(TOOLS)/fuzz-tools

api-tools: ## get what `make api-test` needs into .tools
	@$(TOOLS)/schemathesis

clean-tools: ## throw .tools away
	rm -rf .tools
