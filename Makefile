# demo, test, lint, docs: each makes `.venv` on first use and brings it up to date when
# pyproject.toml or constraints.txt have changed. Needs Python >= 3.11, pip and make.

BIN := .venv/bin
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(RECENT)' 2>/dev/null && echo $$p && break; done)

.PHONY: help install demo test lint format docs clean

help:
	@echo "make demo    annotate eight pictures that ship with the project and draw the result"
	@echo "make test    lint, types and the test suite"
	@echo "make lint    ruff and mypy alone"
	@echo "make format  let ruff rewrite the code"
	@echo "make docs    write the generated pages under docs/ again"
	@echo "make clean   remove the environment and the demo's output"

install: .venv/.installed

# Some systems ship Python without ensurepip; there the outer pip fills the environment.
.venv/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { \
		$(PYTHON) -m venv --clear --without-pip .venv && \
		$(PYTHON) -m pip --python $(BIN)/python install pip; }
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: install
	$(BIN)/grand build --images examples/images --out demo/run
	$(BIN)/grand show demo/run --out demo/pictures
	@echo
	@echo "Annotated pictures: demo/pictures (begin with the contact sheet)."
	@echo "The dataset itself: demo/run/annotations/*.parquet"

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/python -m grand_pipeline.docs
	$(BIN)/python -m training.studies.page

clean:
	rm -rf .venv demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
