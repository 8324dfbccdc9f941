# `make demo` and `make test` are all one needs; each sets up .venv first. CONTRIBUTING.md says more.
PYTHON ?= python3
BIN := .venv/bin
SETUP := constraints.txt settings.ini setup.py tools/venv.py $(wildcard csrc/*)

.PHONY: demo test test-all check lint notebooks pytest wheel native sanitize tutorials readme export docs bench model clean help

help: ; @echo "make demo | test | test-all | lint | readme | docs | bench | clean"

.venv/.run: $(SETUP)
	@command -v $(PYTHON) >/dev/null || { echo "textgen: there is no $(PYTHON); install Python 3.11 or newer, or name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) tools/venv.py
	@touch $@
.venv/.dev: $(SETUP)
	@command -v $(PYTHON) >/dev/null || { echo "textgen: there is no $(PYTHON); install Python 3.11 or newer, or name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) tools/venv.py dev
	@touch .venv/.run $@

demo: .venv/.run ; @$(BIN)/textgen demo

# everything CI checks, cheapest first
test: lint check notebooks pytest wheel
test-all: test tutorials sanitize
	$(BIN)/python -m pytest -m slow

lint: .venv/.dev ; $(BIN)/ruff check .
check: .venv/.dev ; $(BIN)/python tools/check.py
notebooks: .venv/.dev ; OMP_NUM_THREADS=1 $(BIN)/nbdev_test --path nbs --skip_folder_re "tutorials|explanations" --n_workers 2
pytest: .venv/.dev ; $(BIN)/python -m pytest -m "not slow"
wheel: .venv/.dev ; $(BIN)/python tools/wheel.py
# the C of csrc/, built where it lies; and its tests under AddressSanitizer and UndefinedBehaviorSanitizer
native: .venv/.dev ; $(BIN)/python setup.py -q build_ext --inplace
sanitize: .venv/.dev ; $(BIN)/python tools/sanitize.py
tutorials: .venv/.dev ; $(BIN)/python tools/tutorials.py

readme: .venv/.dev ; $(BIN)/python tools/readme.py
export: .venv/.dev ; $(BIN)/nbdev_export && $(BIN)/nbdev_clean
model: .venv/.dev ; $(BIN)/python tools/model.py
bench: .venv/.dev ; for f in benchmarks/*.py; do $(BIN)/python $$f || exit 1; done
docs: .venv/.dev
	@command -v quarto >/dev/null || { echo "textgen: the site is rendered by Quarto, which is not on this machine; see https://quarto.org" >&2; exit 1; }
	$(BIN)/nbdev_docs
clean: ; rm -rf .venv textgen/_native build dist _docs _proc *.egg-info demo-model .pytest_cache .ruff_cache
