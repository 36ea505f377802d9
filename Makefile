# Hayloft's commands. Each one installs what it needs first; `make help` lists them.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
APT_TEST_PACKAGES := chromium curl e2fsprogs libmagic1 rabbitmq-server
APT_BENCH_PACKAGES := fio nginx-light wrk

.DEFAULT_GOAL := help
.PHONY: help serve cluster test check format soak bench bench-cluster bench-gallery bench-renditions bench-similarity bench-vectors clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/:[^#]*##/\t/' | expand -t 14

# A stamp a package set, so that a second run starts at once.
$(VENV)/.run: pyproject.toml constraints.txt
	@bin/install-venv "$(PYTHON)" "$(VENV)" ""
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	@bin/install-venv "$(PYTHON)" "$(VENV)" "test,bench"
	@touch $@ $(VENV)/.run $(VENV)/.cluster

serve: $(VENV)/.run ## start Hayloft on http://127.0.0.1:8080, data under ./hayloft-data
	@$(BIN)/hayloft serve $(ARGS)

# Beside $(VENV)/.run, not instead of it: the extras are added.
$(VENV)/.cluster: pyproject.toml constraints.txt
	@bin/install-venv "$(PYTHON)" "$(VENV)" "cluster"
	@touch $@ $(VENV)/.run

cluster: $(VENV)/.cluster ## start a whole cluster on this machine, everything under ./hayloft-cluster
	@bin/install-debian rabbitmq-server
	@$(BIN)/hayloft cluster up $(ARGS)

# Files go to processes whole, in the order of their names, in which the long ones come first.
test: $(VENV)/.test ## install what the tests need and run all of them
	@bin/install-debian $(APT_TEST_PACKAGES)
	@$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.test ## lint, format, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.test ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.test ## the paper's workloads against nginx and fio; writes bench/results
	@bin/install-debian $(APT_BENCH_PACKAGES)
	@$(BIN)/python bench/haystress.py $(ARGS)

bench-cluster: $(VENV)/.test ## reads, uploads, faults and repair of a cluster; writes bench/results/cluster
	@bin/install-debian $(APT_BENCH_PACKAGES)
	@$(BIN)/python bench/cluster.py $(ARGS)

bench-renditions: $(VENV)/.test ## all sizes of a 12-megapixel photo, per core, next to bare libvips
	@$(BIN)/python bench/renditions.py $(ARGS)

bench-gallery: $(VENV)/.test ## the gallery in a browser, 100,000 photos in the library
	@bin/install-debian $(APT_TEST_PACKAGES)
	@$(BIN)/python bench/gallery.py $(ARGS)

bench-similarity: $(VENV)/.test ## copies found in disguise, strangers kept apart, speed; PHOTOS=a folder of yours
	@MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=134217728 OMP_NUM_THREADS=1 \
		OPENBLAS_NUM_THREADS=1 PYTHONPATH=bench $(BIN)/python -m similarity $(if $(PHOTOS),--photos $(PHOTOS)) $(ARGS)

bench-vectors: $(VENV)/.test ## neighbours against exact search, speed, memory; --photos FOLDER: embedders by category
	@mkdir -p bench/work && PYTHONPATH=bench $(BIN)/python -m similarity.neighbours $(ARGS)

soak: $(VENV)/.test ## break a cluster of real processes for MINUTES (10), under load; SEED= repeats a run
	@bin/install-debian $(APT_TEST_PACKAGES)
	@PYTHONPATH=tests $(BIN)/python -m cluster.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(ARGS)

clean: ## remove everything that can be made again (never the data)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
