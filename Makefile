# Everything a newcomer needs: `make demo`, `make test`. Each target sets up what it uses.
PYTHON ?= python3
BIN := .venv/bin
# Several processes, a file of tests at a time, in the order of tests/conftest.py.
SPREAD := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo host setup ocr test lint fmt k8s-check worker-check fuzz audit coverage bench bench-sweep \
	replay-bench spotting-bench corpus chaos load models lock clean

# Values reach the commands through the environment, as they were typed: neither make nor the shell reads them.
OPTIONS := VIDEO OUT SEGMENT_S WORKERS PORT AZURITE_PORT DATA
$(foreach name,$(OPTIONS),$(eval override $(name) := $$(value $(name))))
export $(OPTIONS)

##@ Start here

# `##@` begins a group; what follows `## ` on a target's line says what it does.
help: ## list the targets
	@awk -F ':.*## ' \
		'/^##@ / { print (n++ ? "\n" : "") substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# An empty value is the same as none.
demo: $(BIN)/.local ## run a match through the whole service: VIDEO= OUT= SEGMENT_S= WORKERS=
	@$(BIN)/python -m client demo --video="$$VIDEO" --out="$$OUT" --segment-s="$$SEGMENT_S" --workers="$$WORKERS"

host: $(BIN)/.local ## serve the API on :7071 and blobs on :10000: PORT= AZURITE_PORT= DATA=
	@exec $(BIN)/python -m infra.local host $${PORT:+--port="$$PORT"} \
		$${AZURITE_PORT:+--azurite-port="$$AZURITE_PORT"} $${DATA:+--data="$$DATA"}

##@ Set up

setup: $(BIN)/.dev ## install what development needs

ocr: $(BIN)/.ocr ## install what reads the scoreboard

##@ Check

test: $(BIN)/.dev lint k8s-check ## run every check and every test
	$(BIN)/python -m pytest -q $(SPREAD)

# What .pre-commit-config.yaml runs too. The last two mend what they find, and fail then; git names the
# text files, so a copy without git leaves them out.
lint: $(BIN)/.dev ## check format, style, types, security, spelling and white space
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r activities client infra orchestrator shared function_app.py
	$(BIN)/codespell
	@git grep -Ilz '' | xargs -0 $(BIN)/end-of-file-fixer
	@git grep -Ilz '' | xargs -0 $(BIN)/trailing-whitespace-fixer

fmt: $(BIN)/.dev ## format the code, and mend what ruff can
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .

k8s-check: $(BIN)/.dev ## render and validate the Kubernetes manifests
	$(BIN)/python -m infra.k8s.check

worker-check: $(BIN)/.dev ## index the app with Microsoft's worker library on Python 3.13
	$(BIN)/python -m infra.worker_check

fuzz: $(BIN)/.dev ## test the API against its OpenAPI document: EXAMPLES= per operation, SEED=
	$(BIN)/python -m tests.support.fuzz $${EXAMPLES:+--examples $$EXAMPLES} $${SEED:+--seed $$SEED}

audit: ## ask the registry's advisory service about the locked packages
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install -q --disable-pip-version-check pip-audit==2.10.1
	.venv-audit/bin/pip-audit --strict --require-hashes --disable-pip -r locks/requirements-dev.txt

##@ Measure

# TESTS: some alone, as tests/shared/timelines/test_edits.py, which writes no results.
coverage: $(BIN)/.dev ## measure the lines and branches that the tests reach: TESTS=
	$(BIN)/python -m bench.coverage $${TESTS:+--only $$TESTS} -- $(SPREAD)

# CASES: match short naive long workers recall growth others segments
bench: $(BIN)/.dev .venv-bench/.ready ## measure the price of a match: CASES=
	$(BIN)/python -m bench $${CASES:+--only $$CASES}

bench-sweep: $(BIN)/.dev ## measure session options, batch sizes, threads and segment lengths
	$(BIN)/python -m bench.sweep

replay-bench: $(BIN)/.dev ## measure the orchestration's replay work per segment
	$(BIN)/python -m bench.replay

spotting-bench: $(BIN)/.dev ## measure what the soccer profile finds in sample matches
	$(BIN)/python -m bench.spotting

corpus: $(BIN)/.dev ## run hundreds of broken files, each as a job
	$(BIN)/python -m bench.corpus

# Runs that the same code has made already are not made again.
chaos: $(BIN)/.dev ## kill processes, break storage and count what jobs lose: RUNS= SEED=
	$(BIN)/python -m bench.chaos $${RUNS:+--runs "$$RUNS"} $${SEED:+--seed $$SEED}

# A smaller one writes no results.
load: $(BIN)/.dev ## run 750 videos in one batch while many poll: VIDEOS= POLLS= a second
	$(BIN)/python -m bench.load $${VIDEOS:+--videos $$VIDEOS} $${POLLS:+--polls $$POLLS}

##@ Maintain

models: $(BIN)/.dev ## build the ONNX graphs and their reference histograms again
	$(BIN)/python -m models.export
	$(BIN)/python -m models.export.reference

# With all that comes along, for every Python and system.
lock: $(BIN)/.local ## lock what requirements*.txt ask for, by hash
	@test -x .venv-lock/bin/uv || $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9
	@for set in "" -local -ocr -dev; do \
		.venv-lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
			--no-header requirements$$set.txt -o locks/requirements$$set.txt || exit 1; done

clean: ## remove environments, tools and outputs
	rm -rf .venv .venv-worker .venv-bench .venv-lock .venv-audit .tools .run out

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

.venv-bench/.ready: requirements-bench.txt requirements.txt
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install -q --disable-pip-version-check -r requirements-bench.txt
	@# It asks for a build of OpenCV that would take the place of the headless one.
	@.venv-bench/bin/python -m pip install -q --disable-pip-version-check --no-deps scenedetect==0.7.2
	@touch $@
