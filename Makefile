# One command each for set-up, demo, test, lint, types and benchmarks. Every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Two threads: the figures in the README and the run-time bounds are for a two-core machine.
export OMP_NUM_THREADS ?= 2
export MKL_NUM_THREADS ?= 2

.PHONY: demo test quick lint format types docs accessibility bench bench-gpu clean

# torch first and by its pinned version, so that nothing else draws in another build of it.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) "torch==2.13.0" setuptools==84.2.1 wheel==0.48.0
	$(PIP) --no-build-isolation --editable ".[models,training,postgres,bench,docs,dev]"
	touch $(STAMP)

# Each line is a command to copy; stl-search is .venv/bin/stl-search where it is not on the PATH.
demo: $(STAMP)
	@rm -rf demo-run/small/model demo-run/small/converted
	@echo "== 1 of 7: a group, its irreps, and what a product in its algebra takes"
	$(BIN)/stl-search group S3
	@echo && echo "== 2 of 7: encoders from two groups, a minute of search, scored on real layers"
	$(BIN)/stl-search run --group S3 --group C2^5 --tile 4 --rank 32 --dtype bf16 \
		--matrices gaussian --matrices minilm --budget 60s --jobs 2 --seed 0 --out demo-run
	@echo && echo "== 3 of 7: an exact algorithm of 48 products for 4 x 4 matrices, from its symmetry group"
	$(BIN)/stl-search find 4x4x4 --rank 48 --symmetry rational-48 --seed 4 --budget 10m --out demo-run/exact
	@echo && echo "== 4 of 7: its proof, and its symmetries"
	$(BIN)/stl-search verify demo-run/exact/4x4x4-r48.safetensors
	$(BIN)/stl-search symmetry demo-run/exact/4x4x4-r48.safetensors
	@echo && echo "== 5 of 7: what this machine reaches, and a layer beside the dense product on it"
	$(BIN)/stl-search bench peaks
	$(BIN)/stl-search bench layer demo-run/exact/4x4x4-r48.safetensors --shape 1024
	@echo && echo "== 6 of 7: a small language model, trained here on these pages"
	$(BIN)/python examples/small_model.py demo-run/small
	@echo && echo "== 7 of 7: the same model with fewer multiplications, judged on text it has not seen"
	$(BIN)/stl-search convert demo-run/small/model --calibrate demo-run/small/train.txt --ratio 2 --length 64 \
		--evaluate demo-run/small/held-out.txt --compare --out demo-run/small/converted
	@echo && echo "The search: demo-run/report.html. The converted model: demo-run/small/converted/report.html."
	@$(BIN)/python examples/open_page.py demo-run/small/converted/report.html

# One thread a process: the tests' matrices are small, and threads that wait for each other only cost time.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test: $(STAMP)
	$(PYTEST)

quick: $(STAMP)
	$(PYTEST) -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

# Every page is run; any warning is an error.
docs: $(STAMP)
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html in a browser."

# axe over the site and the reports; needs a browser (Debian: apt-get install chromium).
accessibility: docs
	$(BIN)/python -m pytest -rs tests/test_accessibility.py

bench: $(STAMP)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.cpu_layers
	$(BIN)/python -m benchmarks.queue

bench-gpu: $(STAMP)
	$(BIN)/python -m benchmarks.gpu
	$(BIN)/python -m benchmarks.gpu --draw results/gpu/layer.json

clean:
	rm -rf $(VENV) build dist *.egg-info demo-run docs/_build
