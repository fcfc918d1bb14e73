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
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# needs: .venv. makes: nothing.
lint: $(INSTALLED)  ## check the code's style
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

# needs: .venv. makes: the sources, formatted.
format: $(INSTALLED)  ## format the code and mend what can be mended
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# The table of a run, (3), into a document, (1), at its marker, (2). Without the run the
# document keeps the table that it has.
define embed_table
	@if [ -f runs/$(3)/table.md ]; then \
	  $(BIN)/python -m tfcompress.report.embed $(1) $(2) runs/$(3)/table.md; \
	else \
	  echo "docs: $(1) keeps the table $(2): there is no runs/$(3)/table.md." \
	       "Make it with: make experiment NAME=$(firstword $(subst /, ,$(3)))" >&2; \
	fi
endef

# needs: .venv, the newest runs of the experiments; checks keras.applications itself, in
# about 10 minutes. makes: the tables in README.md and docs/.
docs: $(INSTALLED)  ## check keras.applications, and put the newest tables into the documents
	$(call embed_table,README.md,cluster_finetune,cluster_finetune/latest)
	$(call embed_table,docs/mobilenet.md,benchmark_mobilenet,benchmark_mobilenet/latest)
	$(call embed_table,docs/bert.md,bert_tweets,bert_baseline/latest-tweet_sentiment_extraction)
	$(call embed_table,docs/bert.md,bert_ag_news,bert_baseline/latest-ag_news_subset)
	$(call embed_table,docs/bert.md,benchmark_export,benchmark_export/latest)
	$(call embed_table,docs/transformers.md,tweets,tweet_sentiment/latest-tweet_sentiment_extraction)
	$(call embed_table,docs/transformers.md,ag_news,tweet_sentiment/latest-ag_news_subset)
	$(call embed_table,docs/quantization.md,tweets,ag_news/latest-tweet_sentiment_extraction)
	$(call embed_table,docs/quantization.md,ag_news,ag_news/latest-ag_news_subset)
	$(call embed_table,docs/quantization.md,imdb,collaborative/latest-imdb_reviews)
	$(call embed_table,docs/clustering.md,benchmark_clustering,benchmark_clustering/latest)
	@$(BIN)/python -m experiments check_applications
	$(call embed_table,docs/applications.md,check_applications,check_applications/latest)

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
