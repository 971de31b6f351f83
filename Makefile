# install, demo, serve, test are all that most people need; each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
INTEGRATION := tests/integration tests/tritonserver tests/end_to_end/test_kill.py tests/end_to_end/test_replicas.py \
	tests/lab/replay/test_engines.py
DATA ?= data
WORK ?= build/train

.PHONY: install demo serve test test-integration check lint types unit proto proto-check faults fuzz bench bench-quick dashboard train trust clean

install: .venv/.server

demo: .venv/.server
	$(BIN)/python examples/demo.py

serve: .venv/.server
	$(BIN)/interlock serve

test: .venv/.dev lint types unit

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

unit: .venv/.dev .tools/triton/complete .tools/deploy/complete
	$(BIN)/pytest -n 2 $(INTEGRATION:%=--ignore=%)

# With a real Prometheus, a real Triton, images that are built and run (as root), clients in other languages, replicas, Ray.
test-integration: .venv/.dev .tools/triton/complete .tools/prometheus/promtool .tools/image/complete .tools/clients/complete
	$(BIN)/pytest $(INTEGRATION)

# What CI runs: the tests, and the checks of the contract that need buf.
check: test proto-check test-integration

# Real servers under load, one fault after the other: eleven minutes, or under four with QUICK=1, which writes no files.
faults: .venv/.dev .tools/triton/complete
	$(BIN)/python benchmarks/faults $(if $(QUICK),--quick)

# The property tests over hostile input, with many more examples.
fuzz: .venv/.dev
	$(BIN)/pytest tests/fuzz --hypothesis-profile=fuzz --timeout=3600

proto: .venv/.dev
	$(BIN)/python proto/generate.py

proto-check: .tools/node_modules/.bin/buf
	$< lint
	$< format --diff --exit-code
	$< breaking --against proto/baseline.binpb

# Measure on an idle machine; the results in benchmarks/results are committed with their date.
bench-quick: .venv/.dev
	$(BIN)/python benchmarks/quick.py

bench: .venv/.dev
	$(BIN)/python benchmarks/full.py
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/report.py

# The dashboard's file, and its picture from real servers (four minutes).
dashboard: .venv/.dev .tools/prometheus/promtool
	$(BIN)/python deploy/monitoring/dashboard.py
	PYTHONPATH=tests $(BIN)/python -m integration.prometheus.draw

train: .venv/.dev
	$(BIN)/interlock train --data $(DATA) --work $(WORK)
	$(BIN)/interlock calibrate --work $(WORK) --out $(WORK)/bundle

# What may be said of the bundle that `make train` made. Every opening of the certify set with something new costs confidence.
trust: .venv/.dev
	$(BIN)/interlock fit-gate --data $(DATA) --bundle $(WORK)/bundle --out $(WORK)/gated --report $(WORK)/gate.json
	$(BIN)/interlock certify --public $(DATA) --bundle $(WORK)/gated --fixed permissive --allow-uncertified \
		--out $(WORK)/certified.yaml --seal $(WORK)/certified --report $(WORK)/report
	$(BIN)/interlock story check $(WORK)/certified --stories lab/interlock_lab/story/default.toml --out $(WORK)/shipped
	cp $(WORK)/gate.json lab/trust/gate.json
	cp $(WORK)/report/figures.json lab/trust/certify.json
	cp $(WORK)/report/*.png docs/certificate/
	$(BIN)/interlock evaluate --work $(WORK) --bundle $(WORK)/shipped --docs docs/ensemble.md

clean:
	rm -rf .venv .tools build

# Plain pip: it alone finds the CPU build of the pinned torch (see pyproject.toml).
.venv/.server: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[server,cpu]'
	touch $@

.venv/.dev: .venv/.server
	$(PIP) --editable '.[server,cpu,torch,triton,tracing,lab,ray,bench,dev]'
	touch $@

# What the tests run beside the service, each in a place of its own under .tools; every script is safe to run again.
.tools/triton/complete: tests/tritonserver/install.sh
	PYTHON=$(abspath $(BIN)/python) sh $<
	touch $@

.tools/deploy/complete: tests/deploy/install.sh
	PYTHON=$(abspath $(BIN)/python) sh $<
	touch $@

.tools/prometheus/promtool: tests/integration/prometheus/install.sh
	sh $<
	touch $@

.tools/image/complete: tests/integration/image/install.sh
	sh $<
	touch $@

.tools/clients/complete: tests/integration/clients/install.sh
	sh $<
	touch $@

.tools/node_modules/.bin/buf:
	npm install --silent --prefix .tools @bufbuild/buf@1.75.0
