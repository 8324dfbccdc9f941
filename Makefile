# `make demo` and `make test` are all one needs; each sets up .venv first. `make help` lists the rest, CONTRIBUTING.md says more.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
RUN := $(BIN)/python
DATA ?= ../shared/data
# Each of the many Pythons that tests start would compile again what it imports.
unexport PYTHONDONTWRITEBYTECODE
SETUP := constraints.txt settings.ini setup.py tools/venv.py $(wildcard csrc/*)

.PHONY: help demo test test-all test-browser check lint style types notebooks pytest coverage lowest wheel native sanitize tutorials readme export docs bench model clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.run: $(SETUP)
	@command -v $(PYTHON) >/dev/null || { echo "textgen: there is no $(PYTHON); install Python 3.11 or newer, or name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) tools/venv.py
	@touch $@
.venv/.dev: $(SETUP)
	@command -v $(PYTHON) >/dev/null || { echo "textgen: there is no $(PYTHON); install Python 3.11 or newer, or name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) tools/venv.py dev
	@touch .venv/.run $@

demo: .venv/.run ## the bundled model learns the bundled poems and writes new ones (about a minute)
	@$(BIN)/textgen demo

test: .venv/.dev ## everything that CI checks; what runs on one core goes two at a time
	@$(MAKE) -j2 $(if $(filter output-sync,$(.FEATURES)),-Otarget) wheel lint check
	@$(MAKE) notebooks pytest
test-all: test tutorials sanitize test-browser ## test, all tutorials and explanations, and the slow tests
	$(RUN) -m pytest -m slow

.venv-browser/.done: tests/browser/requirements.txt
	@$(PYTHON) -m venv .venv-browser && .venv-browser/bin/pip install -q -r $< && touch $@
test-browser: .venv/.dev .venv-browser/.done ## the panels in Chromium before a JupyterLab on loopback; screenshots in tests/browser/shots
	cd tests/browser && TEXTGEN_KERNEL=$(CURDIR)/$(RUN) ../../.venv-browser/bin/python -m pytest -c pytest.ini

lint: .venv/.dev ## ruff, the house's limits (tools/style.py), the types (pyright)
	$(BIN)/ruff check .
	$(RUN) tools/style.py
	$(RUN) tools/typecheck.py
style: .venv/.dev ## what is over a limit, room by room; lowers the allowances
	$(RUN) tools/style.py --rooms --update
types: .venv/.dev ## pyright alone; lowers the allowances
	$(RUN) tools/typecheck.py --update
check: .venv/.dev ## is what is committed what the notebooks make: export, cleaning, README.md, the table of rooms
	$(RUN) tools/check.py
notebooks: .venv/.dev ## run the notebooks of the package: their assertions are tests
	OMP_NUM_THREADS=1 $(BIN)/nbdev_test --path nbs --skip_folder_re "tutorials|explanations" --n_workers 2
pytest: .venv/.dev ## the tests that cannot teach, in tests/; a process for each core
	$(RUN) -m pytest -m "not slow" -n auto --dist worksteal
coverage: .venv/.dev ## the same, and how much of the package they run
	$(RUN) -m pytest -m "not slow" --cov --cov-report=term:skip-covered
wheel: .venv/.dev ## build the wheel, install it where nothing else is, and do the whole job there
	$(RUN) tools/wheel.py
native: .venv/.dev ## compile the C of csrc/ where it lies
	$(RUN) setup.py -q build_ext --inplace
sanitize: .venv/.dev ## the C under AddressSanitizer and UndefinedBehaviorSanitizer
	$(RUN) tools/sanitize.py
tutorials: .venv/.dev ## run tutorials and explanations from the first cell to the last
	$(RUN) tools/tutorials.py
lowest: ## test with the lowest versions that settings.ini admits, in .venv-lowest (Python 3.11)
	$(PYTHON) tools/lowest.py test

export: .venv/.dev ## notebooks → package, and clean the notebooks
	$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(RUN) tools/stubs.py
readme: .venv/.dev ## the table of rooms, the sidebar, README.md
	$(RUN) tools/rooms.py
	$(RUN) tools/readme.py
docs: .venv/.dev ## the site, in _docs (needs Quarto)
	@command -v quarto >/dev/null || { echo "textgen: the site is rendered by Quarto, which is not on this machine; see https://quarto.org" >&2; exit 1; }
	$(BIN)/nbdev_docs
model: .venv/.dev ## train the bundled model again, on the texts in $(DATA) (an hour)
	$(RUN) tools/model.py --data $(DATA)
bench: .venv/.dev ## all benchmarks (hours; it says how long each took); BENCH="--text FILE --peers PYTHON …"
	$(RUN) benchmarks/all.py $(BENCH)
clean: ## remove what make made
	rm -rf .venv .venv-lowest .venv-browser tests/browser/shots textgen/_native build dist _docs _proc *.egg-info demo-model .pytest_cache .ruff_cache .coverage
