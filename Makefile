# make demo   distil MNIST, judge it, see it        make test    run the tests
# make check  format, lint, types, documents, tests make evidence DATA=folder [SCALE=small]   the numbers of the README
# make docs   the documents as a site, in site/index.html
# make bench  measure speed against a plain writing of the method, half an hour on a quiet machine
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO ?= runs/demo
SCALE ?= full
TESTERS ?= 2
NOTE = demo, not a result
SMALL = convnet3:width=32

.NOTPARALLEL:
.PHONY: demo test check docs evidence bench clean

demo: $(VENV)/.installed
	@echo "A demo in four steps, one or two minutes on two quiet cores: distil MNIST (half of it), judge random images,"
	@echo "judge the distilled ones, make a page. A narrow network and few epochs, so no result."
	$(BIN)/datadam distill mnist --ipc 10 --net $(SMALL) --iterations 100 --batch-real 64 --out $(DEMO) --overwrite --note "$(NOTE)"
	$(BIN)/datadam baseline mnist --ipc 10 --students 4 --epochs 50 --beside $(DEMO) --note "$(NOTE)"
	$(BIN)/datadam evaluate $(DEMO) --students 4 --epochs 50 --note "$(NOTE)"
	$(BIN)/datadam report $(DEMO)

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TESTERS) --dist loadfile

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) docs
	$(MAKE) test

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

evidence: $(VENV)/.installed
	@test -n "$(DATA)" || { echo "say where the data sets lie or may be downloaded to: make evidence DATA=folder"; exit 2; }
	$(BIN)/python results/evidence.py --data "$(DATA)" --scale $(SCALE)
	$(BIN)/python results/table.py
	$(BIN)/python results/pictures.py

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/speed/speed.py --out results/benchmarks/speed.json
	$(BIN)/python benchmarks/speed/students.py --out results/benchmarks/students.json
	$(BIN)/python benchmarks/speed/table.py

INSTALL = $(BIN)/python -m pip install --quiet --editable

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(INSTALL) .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[dev]'
	touch $(VENV)/.installed $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("datadam needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache
