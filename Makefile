# Everything sets itself up: the first target that needs them makes the virtual environment and the Go-built programs,
# in a cache outside the repository (playground/toolchain).

PYTHON ?= python3
RUN := $(PYTHON) -m playground.toolchain
PLAYGROUND := $(PYTHON) -m playground
UV_VERSION := 0.13.8
# Rollouts mostly wait; two cores carry this many at a time.
SIDE_BY_SIDE ?= 6
# Whoever is done takes over what others have not begun: tests take between a second and minutes.
SHARED := --dist worksteal -n
PLUGIN := dist/kubectl-modelrollout
SBOM := dist/modelrollout.cdx.json
# What takes long is left to `make test-all`.
SELECTED := -m "not long"

.DEFAULT_GOAL := help
.PHONY: help demo up down shell status test test-all lint format test-unit test-integration bench bench-judge plugin gitops chart sbom kind lock

help:  ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## Everything starts; a bad version is caught and taken back; a good one is promoted; a summary
	@$(PLAYGROUND) demo

up:  ## Bring a cluster with gateway, Prometheus and the operator up on this machine
	@$(PLAYGROUND) up

down:  ## End it
	@$(PLAYGROUND) down

shell:  ## A shell inside, with kubectl
	@$(PLAYGROUND) shell

status:  ## What runs in there and what has died
	@$(PLAYGROUND) status

test: lint test-unit test-integration  ## Linters, types, unit tests, integration tests against the real parts

test-all: SELECTED :=
test-all: test  ## The same with the tests that take long: every write killed at, long outages, ten idle minutes

lint:  ## Style, types and layers
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports

format:  ## Format, and repair what can be repaired by itself
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

test-unit:  ## Unit and contract tests: seconds
	$(RUN) pytest tests/unit tests/contract tests/planning tests/cli tests/gitops tests/chart --ignore-glob="*/on_playground" $(SHARED) auto $(SELECTED)

test-integration:  ## Playground and integration tests: real control plane, gateway and Prometheus
	$(RUN) pytest tests/playground $(SELECTED)
	$(RUN) pytest tests/integration tests/cli/on_playground tests/gitops/on_playground $(SHARED) $(SIDE_BY_SIDE) $(SELECTED)
	$(RUN) pytest tests/interference $(SHARED) $(SIDE_BY_SIDE) $(SELECTED)
	$(RUN) pytest tests/disruption $(SELECTED)

bench-judge:  ## Try the judge and its rivals on the same simulated answers; tables and plots go to docs/judge-benchmark.md
	$(RUN) python -m benchmarks.judge

bench:  ## Measure aborts, promotions, ways back and the footprint; tables go to docs/benchmarks.md (two hours)
	$(RUN) python -m benchmarks

kind:  ## A kind cluster with the real images, the chart and two examples; needs Docker, kind, kubectl and Helm
	PYTHON=$(PYTHON) kind/up.sh

plugin:  ## One file that is `kubectl modelrollout`, for this platform and this Python
	$(RUN) pex --venv-repository --requirement requirements/plugin.in --sources-directory operator \
		--entry-point modelrollout.cli.app:main --venv prepend --sh-boot --output-file $(PLUGIN)

gitops:  ## Make gitops/argocd/argocd-cm.yaml anew from the scripts beside it
	$(RUN) python gitops/argocd/generate_fragment.py

chart:  ## Render the chart anew: the playground's manifest and the snapshots that are reviewed
	$(RUN) python -m tests.chart

sbom:  ## The bill of materials of the operator's image: CycloneDX, as JSON
	$(RUN) python -m playground.toolchain.sbom $(SBOM)

lock:  ## Write requirements/*.lock anew from pyproject.toml and requirements/*.in
	$(PYTHON) -m playground.toolchain.lock $(UV_VERSION)
