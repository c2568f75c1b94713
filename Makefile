# Every task of developers and CI. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV_VERSION := 0.13.8

# An editable install links individual files, so it is redone when files are added or removed or the
# dependencies change: the name of the stamp contains a checksum of both.
TREE := $(shell (find src -type f -not -name '*.pyc' -not -path '*/__pycache__/*' | LC_ALL=C sort; cat pyproject.toml requirements.lock) | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(TREE)

.DEFAULT_GOAL := help
.PHONY: help venv generate demo demo-furniture demo-seeds test test-fast test-browser test-chaos test-fuzz test-judge test-soak test-cluster test-cluster-soak test-cluster-times tests-on-the-cluster tests-of-the-charts test-gpu cluster bench-similarity bench-structure bench-training bench-reader bench-retrieval bench-scale bench-pack bench-meshes bench-startup bench-gpu lint format lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

venv: $(STAMP) ## Create .venv with all dependencies

$(STAMP): $(BIN)/uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	rm -rf build/__editable__.* src/*.egg-info
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --reinstall-package captionless \
		--config-settings editable_mode=strict --editable .
	rm -f $(VENV)/.installed-*
	touch $@

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit("captionless needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

demo: venv ## Run all stages on the embedded demo world: figures and a report, in minutes
	$(BIN)/captionless run examples/demo.yaml

demo-seeds: venv ## Run the demo with three seeds: the table in docs/results.md
	$(BIN)/captionless run examples/demo.yaml --set name=demo-seeds --set train.seeds=[0,1,2]

demo-furniture: venv ## Run all stages on 820 real furniture meshes (Debian's sweethome3d-furniture)
	$(BIN)/python examples/furniture/make_manifest.py runs/furniture-meshes
	$(BIN)/python examples/furniture/make_landmarks.py runs/furniture-meshes/landmarks.jsonl
	$(BIN)/captionless run examples/furniture/furniture.yaml

test: venv lint ## Run lint and tests
	$(BIN)/pytest -n 2 --dist worksteal

test-fast: venv ## Run the tests except those of whole runs
	$(BIN)/pytest -n 2 --dist worksteal -m "not flow and not cluster and not chaos and not fuzz and not soak and not gpu and not browser and not judge"

test-browser: venv ## Test the HTML pages in a headless Chromium (installed if run as root)
	hack/ensure-chromium
	$(BIN)/pytest -n 2 --dist worksteal -m browser tests/browser

test-chaos: venv ## Test random sequences of changes, kills and late workers against runs from scratch (about an hour)
	CAPTIONLESS_TEST_CHAOS_TABLE=tests/chaos/sequences.md $(BIN)/pytest -n 2 --dist worksteal -m chaos tests/chaos tests/stages

test-fuzz: venv ## Test the readers of meshes against damaged files by the thousand (about an hour)
	CAPTIONLESS_TEST_FUZZ_TABLE=tests/fuzz/inputs.md $(BIN)/pytest -n 2 --dist worksteal -m fuzz tests/fuzz

test-judge: venv ## Compare views with those of three.js in a headless Chromium: hundreds of files, real models (a quarter of an hour)
	hack/ensure-chromium
	hack/ensure-three
	CAPTIONLESS_TEST_JUDGE=tests/judge $(BIN)/pytest -m judge tests/judge

test-soak: venv ## Test whole runs that are interrupted repeatedly
	$(BIN)/pytest -n 2 --dist worksteal -m "soak and not cluster"

test-cluster-soak: venv ## Disturb runs on the cluster again and again (as test-cluster; about ten minutes)
	$(if $(KUBECONFIG),,hack/cluster/cluster up --image)
	$(BIN)/pytest -m "cluster and soak" tests/cluster

test-cluster: venv ## Run the cluster tests: on KUBECONFIG's cluster, or on one created here (as root)
	$(if $(KUBECONFIG),,hack/cluster/cluster up --image)
	$(MAKE) --no-print-directory -j2 tests-on-the-cluster tests-of-the-charts

tests-on-the-cluster:
	$(BIN)/pytest -m "cluster and not soak" --durations=20 tests/cluster

tests-of-the-charts: # they need the cluster's programs, and nothing of what runs there
	$(BIN)/pytest -m cluster tests/charts

test-cluster-times: venv ## Assert the time limits promised on a cluster; needs an otherwise idle machine
	$(if $(KUBECONFIG),,hack/cluster/cluster up --image)
	CAPTIONLESS_TEST_TIMES=1 $(BIN)/pytest -v -m cluster tests/cluster/test_disruptions.py tests/cluster/test_failures.py

test-gpu: venv ## Run the GPU tests on this machine's GPU
	$(BIN)/pytest -m gpu tests/trainer

cluster: venv ## Create the test cluster with the image of this checkout (as root); `hack/cluster/cluster down` deletes it
	hack/cluster/cluster up --image

bench-similarity: venv ## Benchmark similarity against its peers: speed, memory, workers, lookup, scale (about 20 minutes)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python -m benchmarks.similarity

bench-structure: venv ## Benchmark how similarity ranks structural likeness, against Chamfer and earth mover's distance
	$(BIN)/python -m benchmarks.similarity.structure

bench-training: venv ## Benchmark loss, step and operators of training against their peers
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python -m benchmarks.training

bench-reader: venv ## Benchmark reading of training data against its peers, locally and over S3 (about 10 minutes)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python -m benchmarks.reader

bench-retrieval: venv ## Benchmark exact ranks in a gallery of a million, against a matrix product and faiss
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python -m benchmarks.retrieval

bench-scale: venv ## Benchmark the bookkeeping of up to ten million objects: memory, time, requests (hours)
	$(BIN)/python -m benchmarks.scale

bench-pack: venv ## Benchmark packing an object against the first release and peers, and embedding against the bare model
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python -m benchmarks.pack

bench-meshes: venv ## Benchmark the readers of meshes against trimesh, format by format (about 20 minutes)
	$(BIN)/python -m benchmarks.meshes

bench-startup: venv ## Benchmark the start-up of the command line, against a bare typer application
	$(BIN)/python -m benchmarks.startup

bench-gpu: venv ## Benchmark training on a GPU: operators, step by precision, loss, loop
	$(BIN)/python -m benchmarks.training.gpu

generate: venv ## Regenerate what is derived from the code (docs/spec.md, the CRD, k8s/, the charts)
	$(BIN)/python hack/generate.py

lint: venv ## Run ruff, mypy and import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv ## Format and fix with ruff
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra kubernetes

lock: $(BIN)/uv ## Update the lock files from pyproject.toml: the full one, and the one of the image
	$(COMPILE) --extra search --group dev pyproject.toml -o requirements.lock
	$(COMPILE) -c requirements.lock pyproject.toml -o requirements.runtime.lock

clean: ## Remove build outputs (not the runs)
	rm -rf $(VENV) build dist
