# Everything a newcomer needs: `make demo`, `make test`. Each target sets up what it uses.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo host test lint setup ocr k8s-check worker-check models replay-bench spotting-bench bench bench-sweep \
	corpus chaos load fuzz lock audit clean

# Values reach the commands through the environment, as they were typed: neither make nor the shell reads them.
OPTIONS := VIDEO OUT SEGMENT_S WORKERS PORT AZURITE_PORT DATA
$(foreach name,$(OPTIONS),$(eval override $(name) := $$(value $(name))))
export $(OPTIONS)

# An empty value is the same as none: VIDEO= OUT= SEGMENT_S= WORKERS=
demo: $(BIN)/.local
	@$(BIN)/python -m client demo --video="$$VIDEO" --out="$$OUT" --segment-s="$$SEGMENT_S" --workers="$$WORKERS"

# PORT= AZURITE_PORT= DATA=
host: $(BIN)/.local
	@exec $(BIN)/python -m infra.local host $${PORT:+--port="$$PORT"} \
		$${AZURITE_PORT:+--azurite-port="$$AZURITE_PORT"} $${DATA:+--data="$$DATA"}

test: $(BIN)/.dev lint k8s-check
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

lint: $(BIN)/.dev
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r activities client infra orchestrator shared function_app.py

k8s-check: $(BIN)/.dev
	$(BIN)/python -m infra.k8s.check

worker-check: $(BIN)/.dev
	$(BIN)/python -m infra.worker_check

models: $(BIN)/.dev
	$(BIN)/python -m models.export
	$(BIN)/python -m models.export.reference

replay-bench: $(BIN)/.dev
	$(BIN)/python -m bench.replay

spotting-bench: $(BIN)/.dev
	$(BIN)/python -m bench.spotting

# CASES= some of: match short naive long workers recall growth others segments
bench: $(BIN)/.dev .venv-bench/.ready
	$(BIN)/python -m bench $${CASES:+--only $$CASES}

.venv-bench/.ready: requirements-bench.txt requirements.txt
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install -q --disable-pip-version-check -r requirements-bench.txt
	@# It asks for a build of OpenCV that would take the place of the headless one.
	@.venv-bench/bin/python -m pip install -q --disable-pip-version-check --no-deps scenedetect==0.7.2
	@touch $@

corpus: $(BIN)/.dev
	$(BIN)/python -m bench.corpus

bench-sweep: $(BIN)/.dev
	$(BIN)/python -m bench.sweep

# RUNS=50, SEED= some seeds alone. Runs that the same code has made already are not made again.
chaos: $(BIN)/.dev
	$(BIN)/python -m bench.chaos $${RUNS:+--runs "$$RUNS"} $${SEED:+--seed $$SEED}

# VIDEOS= and POLLS= (a second) for a small one, which writes nothing
load: $(BIN)/.dev
	$(BIN)/python -m bench.load $${VIDEOS:+--videos $$VIDEOS} $${POLLS:+--polls $$POLLS}

# EXAMPLES= per operation, SEED=
fuzz: $(BIN)/.dev
	$(BIN)/python -m tests.support.fuzz $${EXAMPLES:+--examples $$EXAMPLES} $${SEED:+--seed $$SEED}

setup: $(BIN)/.dev

ocr: $(BIN)/.ocr

# The stamps hang on the locks, so a second run starts at once and a changed pin is installed.
$(BIN)/.local: locks/requirements-local.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "matchcut needs Python 3.11, 3.12 or 3.13; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing what the demo needs (the first time takes a minute) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r locks/requirements-local.txt
	@$(BIN)/python -m infra.local setup
	@touch $@

$(BIN)/.dev: $(BIN)/.local locks/requirements-dev.txt
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r locks/requirements-dev.txt
	@touch $@

$(BIN)/.ocr: $(BIN)/.local locks/requirements-ocr.txt
	@echo "Installing what reads the scoreboard ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r locks/requirements-ocr.txt
	@touch $@

# What requirements*.txt ask for, with all that comes along, for every Python and system, by hash.
lock: $(BIN)/.local
	@test -x .venv-lock/bin/uv || $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9
	@for set in "" -local -ocr -dev; do \
		.venv-lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
			--no-header requirements$$set.txt -o locks/requirements$$set.txt || exit 1; done

# Known weaknesses of what is locked; it asks the package registry's advisory service.
audit:
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install -q --disable-pip-version-check pip-audit==2.10.1
	.venv-audit/bin/pip-audit --strict --require-hashes --disable-pip -r locks/requirements-dev.txt

clean:
	rm -rf .venv .venv-worker .venv-bench .venv-lock .venv-audit .tools .run out
