# Targets in the manner of BUILD files: each one names what it needs and what it
# makes. `make` alone prints them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := tfcompress experiments tests

.DEFAULT_GOAL := help
.PHONY: help experiment test lint format docs lock clean

# needs: nothing. makes: this text.
help:  ## print the targets
	@echo "Targets:"
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) \
	  | sed -E 's/^([a-z]+):.*## */  \1|/' | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
	@echo
	@echo 'Example: make experiment NAME=cluster_finetune ARGS="--num_clusters=8"'

# needs: requirements.lock, setup.cfg. makes: .venv
$(INSTALLED): requirements.lock setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "error: $(PYTHON) is not a Python 3.11 to 3.13." \
	       "Name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --editable .
	@touch $@

# needs: .venv. makes: runs/NAME/<run id>/ (records, artifacts, table.md).
experiment: $(INSTALLED)  ## run an experiment: make experiment NAME=... ARGS="..."
	@$(BIN)/python -m experiments "$(NAME)" $(ARGS)

# needs: .venv. makes: nothing that stays.
test: $(INSTALLED)  ## run the tests and the examples in the docstrings
	$(BIN)/python -m pytest

# needs: .venv. makes: nothing.
lint: $(INSTALLED)  ## check the code's style
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

# needs: .venv. makes: the sources, formatted.
format: $(INSTALLED)  ## format the code and mend what can be mended
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# The table of an experiment's newest run into a document. One that was not run keeps
# the table that the document has.
define embed_table
	@if [ -f runs/$(2)/latest/table.md ]; then \
	  $(BIN)/python -m tfcompress.report.embed $(1) $(2) runs/$(2)/latest/table.md; \
	else \
	  echo "docs: $(1) keeps its table: there is no runs/$(2)/latest/table.md." \
	       "Make it with: make experiment NAME=$(2)" >&2; \
	fi
endef

# needs: .venv, the newest runs of the experiments; checks keras.applications itself, in
# about 10 minutes. makes: the tables in README.md and docs/.
docs: $(INSTALLED)  ## check keras.applications, and put the newest tables into the documents
	$(call embed_table,README.md,cluster_finetune)
	$(call embed_table,docs/mobilenet.md,benchmark_mobilenet)
	@$(BIN)/python -m experiments check_applications
	$(call embed_table,docs/applications.md,check_applications)

# needs: setup.cfg, .venv. makes: requirements.lock; versions in it stay
# unless setup.cfg forbids them (delete the file to take the newest).
lock: $(INSTALLED)  ## make requirements.lock again from setup.cfg
	$(BIN)/uv pip compile setup.cfg --quiet --extra dev --universal \
	  --python-version 3.11 --custom-compile-command "make lock" \
	  --output-file requirements.lock

# needs: nothing. makes: room; runs/ and data/ stay.
clean:  ## remove the environment and the caches
	rm -rf $(VENV) .pytest_cache .ruff_cache *.egg-info
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
