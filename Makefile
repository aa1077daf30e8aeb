# The front door. `make demo` and `make test` install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := build/peers
export PIP_DISABLE_PIP_VERSION_CHECK = 1

FUZZ_SECONDS ?= 20
CORPUS_TESTS := tests/interop/test_dcap_quotes.py tests/interop/test_dcap_vectors.py \
	tests/unit/verifier/test_rejections.py tests/unit/lab/test_lab_vectors.py

.PHONY: help demo test test-long test-corpus test-interop test-containers test-gramine test-cluster vectors fuzz check bench bench-keyservice bench-scaling bench-serving soak proto train clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 18

$(VENV)/.run: pyproject.toml constraints.txt scripts/environment.sh
	@PYTHON=$(PYTHON) sh scripts/environment.sh $(VENV) all && touch $@

$(VENV)/.dev: $(VENV)/.run
	@PYTHON=$(PYTHON) sh scripts/environment.sh $(VENV) dev && touch $@

$(VENV)/.packages: scripts/test_packages.sh $(VENV)/.dev
	@sh scripts/test_packages.sh && touch $@

$(VENV)/.interop: $(VENV)/.dev
	@PYTHON=$(PYTHON) sh scripts/environment.sh $(VENV) interop && touch $@

$(VENV)/.containers: $(VENV)/.packages
	@PYTHON=$(PYTHON) sh scripts/environment.sh $(VENV) containers && touch $@

$(VENV)/.bench: $(VENV)/.dev
	@PYTHON=$(PYTHON) sh scripts/environment.sh $(VENV) bench && touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	@PYTHON=$(PYTHON) sh scripts/environment.sh $(VENV) fuzz && touch $@

demo: $(VENV)/.run ## seal, attest, release, serve, predict: the whole of SealServe on this machine
	@$(BIN)/sealserve demo

test: $(VENV)/.packages ## every test that needs no large package and no minutes
	$(BIN)/pytest -q -n 2 -m "not (interop or containers or gramine or cluster or long)"

test-long: $(VENV)/.packages ## the commands of every page, whole services composed, killed and rolled, much data
	$(BIN)/pytest -q -n 2 --dist loadfile -m long

test-corpus: $(VENV)/.dev ## the verifier on public DCAP vectors and on the lab's mutations
	$(BIN)/pytest -q -n 2 -m "not interop" $(CORPUS_TESTS)

test-interop: $(VENV)/.interop ## against TensorFlow and other people's clients, which it installs
	$(BIN)/pytest -q -m interop

test-containers: $(VENV)/.containers ## build the images with podman, and run a whole service in them
	$(BIN)/pytest -q -m containers tests/containers

test-gramine: $(VENV)/.dev ## the server and a build under Gramine itself, without SGX; says where Gramine is missing
	@PYTHON=$(PYTHON) sh scripts/gramine.sh build/gramine
	$(BIN)/pytest -q -m gramine tests/integration/gramine

test-cluster: $(VENV)/.containers ## what is rendered for Kubernetes, on a real cluster of this machine, built from its modules
	@sh scripts/test_packages.sh cluster
	$(BIN)/pytest -q -s -m cluster tests/cluster

vectors: $(VENV)/.run ## SGX and TDX conformance vectors in build/vectors, and our verdicts on them
	rm -rf build/vectors
	$(BIN)/sealserve lab vectors --out build/vectors
	$(BIN)/sealserve lab check-vectors build/vectors

fuzz: $(VENV)/.fuzz ## every parser of outsiders' bytes, each for FUZZ_SECONDS, within 50 ms and 16 MiB
	$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS)

check: $(VENV)/.dev ## format, lint, types, rooms, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate_messages.py --check

bench: $(VENV)/.bench ## every benchmark, with its peer or limit beside it
	$(BIN)/python -m bench

bench-keyservice: $(VENV)/.dev ## the key service beside its peers; into docs/performance.md
	$(BIN)/python -m bench keyservice --write docs/performance.md

bench-scaling: $(VENV)/.dev ## what the capacity model is told, and the simulation itself; into docs/scaling.md
	$(BIN)/python -m bench scaling --write docs/scaling.md

$(PEERS)/.made: scripts/peers.sh constraints.txt
	@PYTHON=$(PYTHON) sh scripts/peers.sh $(PEERS) && touch $@

bench-serving: $(VENV)/.interop $(PEERS)/.made ## the model server beside its peers, which it installs; into docs/performance.md
	$(BIN)/python -m bench serving --write docs/performance.md

soak: $(VENV)/.packages ## the key service under load, crashes and attacks; into docs/reliability.md
	$(BIN)/python -m soak --write docs/reliability.md

proto: $(VENV)/.dev ## the protobuf messages, from proto/
	$(BIN)/python scripts/generate_messages.py

train: $(VENV)/.dev ## the digit classifier that the package ships, from its data
	$(BIN)/pip install -q -c constraints.txt -e '.[train]'
	$(BIN)/python scripts/train_digits.py

clean: ## what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/results build
