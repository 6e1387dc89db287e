# make demo    teacher to report in minutes, in artifacts/demo
# make test    everything: format, lint, types, all tests
# make check   format, lint, types and the quick tests
# make clean   remove what these made, the environment too
# PYTHON chooses the interpreter (3.11 or newer): make demo PYTHON=python3.12

.DEFAULT_GOAL := check
.PHONY: demo test check lint browser clean

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
BIN := .venv/bin
# Tests start hundreds of processes: without compiled files each compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=
# Processes that share the tests, those of one file in one of them.
WORKERS ?= 2
READY := .venv/.ready
# tflite-runtime, which older devices have, needs NumPy 1, and so an environment of its own.
TFLITE := .venv-tflite
TFLITE_READY := $(TFLITE)/.ready
TFLITE_PACKAGES := tflite-runtime==2.14.0 numpy==1.26.4 pydantic==2.11.10

demo: $(READY)
	$(BIN)/lipstill compress demo --out artifacts/demo

test: lint $(TFLITE_READY) browser
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

check: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow"

lint: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

# The page is tested in a real browser. Playwright drives one of the system's; it brings none.
BROWSERS := chromium chromium-browser google-chrome
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	if command -v apt-get >/dev/null; then \
		echo 'installing Chromium, for the tests of the page'; \
		$(SUDO) apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	else echo 'no Chromium, and no apt-get to install it with: the tests of the page are skipped'; fi

# The stamp is younger than what it was made from, so a second call installs nothing.
$(READY): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'lipstill needs Python 3.11 or newer; found: $(PYTHON). Try: make PYTHON=/path/to/python3.11' >&2; exit 4; }
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

# Its last wheels are for Python 3.11 on Linux; elsewhere the test that needs it is skipped.
$(TFLITE_READY): Makefile
	@if "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) or sys.platform != "linux")'; then \
		"$(PYTHON)" -m venv $(TFLITE) && \
		$(TFLITE)/bin/python -m pip install --quiet $(TFLITE_PACKAGES) && \
		touch $@; \
	else echo 'no tflite-runtime for $(PYTHON): its test is skipped'; fi

clean:
	rm -rf .venv $(TFLITE) dist artifacts/demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find compress exporters recipes tests -name __pycache__ -type d -prune -exec rm -rf {} +
