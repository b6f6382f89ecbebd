# Every target works as the first command of a bare checkout: it makes .venv when that is missing or older than pyproject.toml or constraints.txt.
# Needed: make and Python 3.11 or newer with venv. Another Python: make PYTHON=/path/to/python3.12

SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
SECONDS ?= 300
PYTEST ?=
BENCH ?=
OUT := xds

# Byte code is kept, whatever the environment says of that, and in .venv, so that none is left beside the source: `make test` starts some
# hundred processes, and each would spend a second and more on compiling what it imports.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache

.PHONY: help demo test thorough check bench fuzz golden kube-assets protos lock

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP)  ## a two-network mesh of real Envoys with traffic crossing it; exits 0 only when all of it was seen
	@$(BIN)/steersman lab demo config/labs/two-networks.yaml

# What `make kube-assets` obtained is used without being named.
# loadfile: a file's tests stay on one worker, where its module fixtures are made once. (loadgroup has no effect in xdist 3.8 on pytest 9.2.)
# no-loadscope-reorder: in the order of tests/conftest.py, longest first, not those with the most tests.
test: $(STAMP)  ## all tests; arguments for pytest: make test PYTEST="-k split_horizon", JOBS=1 for one at a time
	@KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$(.ci/kube-assets --where)}" $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST)

thorough: $(STAMP)  ## the property tests, with ten times the examples, and others each time
	@HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n $(JOBS) --timeout 1200 -m hypothesis $(PYTEST)

check: $(STAMP)  ## lint, formatting, types and the direction of imports; all four, whichever fails
	@failed=; \
	for tool in "ruff check --quiet --output-format concise ." "ruff format --quiet --check ." mypy "lint-imports --no-logo"; do \
	  echo "$$tool"; $(BIN)/$$tool || failed="$$failed '$$tool'"; \
	done; \
	test -z "$$failed" || { echo "make check: failed:$$failed" >&2; exit 1; }

bench: $(STAMP)  ## benchmarks, beside references of the same run and targets; only some: make bench BENCH="change visible"
	@$(BIN)/python -m tests.bench $(BENCH)

fuzz: $(STAMP)  ## what clients send, as bytes, guided by what they reach; how long: make fuzz SECONDS=600
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

golden: $(STAMP)  ## rewrite and prune the golden files; review the diff, then commit it
	@$(BIN)/python -m pytest -n 0 --update-golden -m golden $(PYTEST)

kube-assets:  ## kube-apiserver, etcd and kubectl for the tests: by setup-envtest, or built by Go; 15 CPU minutes when nothing is cached
	@.ci/kube-assets

protos: $(STAMP)  ## compile protos/ into xds/; the generated files are committed
	@$(BIN)/python -m grpc_tools.protoc -I protos --python_out=$(OUT) --pyi_out=$(OUT) --grpc_python_out=$(OUT) $$(find protos -name '*.proto')

lock:  ## resolve pyproject.toml afresh and write constraints.txt
	@.ci/lock "$(PYTHON)"

# --no-compile: byte code is written when a module is first imported, so that the thousands of modules that nothing imports cost nothing.
$(STAMP): pyproject.toml constraints.txt
	@python=$$(.ci/python "$(PYTHON)") || exit 1; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "Creating $(VENV) with $$($$python --version) ..."; \
	  $$python -m venv --clear $(VENV) || { \
	    echo "make: $$python can't make a virtual environment (the message above says why)." >&2; \
	    echo "      On Debian and Ubuntu the module is a package of its own: apt-get install python3-venv" >&2; \
	    rm -rf $(VENV); exit 1; }; \
	fi; \
	echo "Installing Steersman and its dependencies, as pinned in constraints.txt (about a minute) ..."; \
	start=$$(date +%s); \
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[lab,dev]' || { \
	  echo "make: the installation failed (pip's message is above); is a package index reachable?" >&2; exit 1; }; \
	touch $@; echo "Installed in $$(( $$(date +%s) - start )) s."
