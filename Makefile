PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow bench bench-peers lint picture docs clean

demo: $(VENV)/.installed
	$(BIN)/lens demo --out reports/demo

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --disable-warnings

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	for job in forward mixed memory scale generate doses edits sweep erasure moments; do $(BIN)/python benchmarks/$$job.py || exit 1; done
	$(BIN)/python benchmarks/page.py

bench-peers: $(VENV)/.installed-test
	$(BIN)/python benchmarks/peers/environments.py

picture: $(VENV)/.installed
	$(BIN)/python docs/picture.py

docs: $(VENV)/.installed
	$(BIN)/python docs/organisms.py
	$(BIN)/python docs/detection.py
	$(BIN)/python docs/steering_page.py
	$(BIN)/python docs/study_pages.py
	$(BIN)/python docs/incontext_page.py
	$(BIN)/python docs/neurofeedback_proof.py
	$(BIN)/python docs/injected_thoughts_proof.py

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[test]'
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) .bench reports build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
