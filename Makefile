# Ternary VAE v5.5, the book. Needs Python 3.11 to 3.13, make and git; everything else goes into .venv/.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PRECIOUS: results/%.json

VENV := .venv
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
    "$$p" -c "$(SUPPORTED)" >/dev/null 2>&1 && { echo "$$p"; break; }; done)
RUN := $(VENV)/bin/python
TERNARY := $(RUN) -m ternary_lib
INSTALL := $(RUN) -m pip install --disable-pip-version-check --constraint requirements.lock
STAMP := $(VENV)/.installed
BROWSER_STAMP := $(VENV)/.installed-browser
JOBS ?= 2
SITE ?= book/_build/html
RECORDS := ternary_v5_5 ternary_v5_5_published ternary_v6
RELIABILITY := reliability mistakes fuzz dependencies
MEASURED := benchmark ratios stacked machines noticed $(RELIABILITY)

.PHONY: help book book-smoke test coverage mutants check check-pages results original reliability notebook-strip lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml requirements.lock
	@"$(PYTHON)" -c "$(SUPPORTED)" 2>/dev/null || { \
	    echo "error: no Python 3.11, 3.12 or 3.13 found; install one, or run: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || { echo "Making $(VENV)/ with $(PYTHON)"; "$(PYTHON)" -m venv --clear $(VENV); }
	@echo "Installing the pinned packages into $(VENV)/ (once; some minutes, mostly PyTorch)"
	@$(INSTALL) --editable '.[book,test]'
	@touch $@

$(BROWSER_STAMP): $(STAMP)
	@$(INSTALL) --quiet --editable '.[book,test,browser]'
	@touch $@

book: $(STAMP) ## environment, every chapter executed at production size, HTML book at book/_build/html/index.html
	@$(TERNARY) book --size production --strict

book-smoke: $(STAMP) ## the same book at smoke size (minutes), in runs/book-smoke/_build/html
	@$(TERNARY) book --size smoke --strict --output runs/book-smoke

test: $(STAMP) ## environment, unit tests, doctests and every notebook executed (pytest --nbmake)
	@OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses $(JOBS) --dist loadgroup --no-loadscope-reorder

coverage: $(STAMP) ## lines and branches of ternary_lib that the tests reach; fails below 95 % of either
	@$(INSTALL) --quiet --editable '.[book,test,quality]'
	@OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses $(JOBS) --dist loadgroup --no-loadscope-reorder --cov ternary_lib --cov-branch \
	    --cov-report term-missing:skip-covered --cov-report json:runs/coverage.json
	@$(RUN) -m benchmarks.noticed --coverage runs/coverage.json

mutants: $(STAMP) ## change schedules, StateNet, losses and coverage line by line: does a test notice? (five minutes)
	@$(INSTALL) --quiet --editable '.[book,test,quality]'
	@rm -rf mutants
	@OMP_NUM_THREADS=1 $(VENV)/bin/mutmut run --max-children $(JOBS)
	@$(RUN) -m benchmarks.noticed --mutants mutants

reliability: $(STAMP) ## kill training, sweep and book at random moments, make every mistake, damage every kind of file, list the dependencies (an hour)
	@$(INSTALL) --quiet --editable '.[book,test,quality]'
	@for name in $(RELIABILITY); do $(RUN) -m benchmarks.$$name || exit $$?; done

check: $(STAMP) ## check every link, anchor and leftover of the built pages (SITE=book/_build/html)
	@$(RUN) -m ternary_lib.links $(SITE)

check-pages: $(BROWSER_STAMP) ## open every built page in Chromium: errors, outside requests, phone width (SITE=book/_build/html)
	@TERNARY_SITE=$(SITE) $(RUN) -m pytest tests/browser --numprocesses $(JOBS)

results: $(STAMP) $(MEASURED:%=results/%.json) ## make every record that is missing: runs of seed 42 with weights and cards, sweeps (many hours), the public code, peers, speed, reliability, the ledger's numbers
	@mkdir -p runs results/runs results/weights
	@for name in $(RECORDS); do \
	    made="results/runs/$${name}_seed42.json results/weights/$${name}_seed42.safetensors"; \
	    case $$name in \
	        ternary_v5_5) made="$$made results/limit.json" ;; \
	        ternary_v5_5_published) made="$$made results/weights/$${name}_seed42_best.safetensors" ;; \
	    esac; \
	    if ls $$made > /dev/null 2>&1; then continue; fi; \
	    $(TERNARY) train --config configs/$$name.yaml --resume > runs/.record || exit $$?; \
	    run=$$(dirname "$$(sed -n 's/^Record: //p' runs/.record)"); \
	    cp "$$run/record.json" results/runs/$${name}_seed42.json || exit $$?; \
	    $(RUN) -m ternary_lib.model_cards "$$run" || exit $$?; \
	    if [ $$name = ternary_v5_5 ]; then $(RUN) -m benchmarks.limit --run "$$run" || exit $$?; fi; \
	done
	@$(RUN) -m ternary_lib.model_cards
	@for sweep in configs/sweeps/*.yaml; do $(TERNARY) sweep "$$sweep" || exit $$?; done
	@$(MAKE) --no-print-directory original
	@$(RUN) -m benchmarks.limit
	@$(RUN) -m benchmarks.larger
	@$(INSTALL) --quiet --editable '.[book,test,peers]'
	@$(RUN) -m benchmarks.peers
	@$(RUN) -m ternary_lib.pages
	@$(RUN) -m ternary_lib.claims --update

original: $(STAMP) ## fetch the sources' own code, train it with five seeds and measure it as ours (an hour and a half)
	@$(RUN) -m benchmarks.original runs/original --fetch

# One file a record: to make it again, delete it. Its tools are installed after the environment, so that a new environment makes nothing again.
results/benchmark.json: | $(STAMP)
	@$(TERNARY) benchmark --config configs/ternary_v5_5.yaml --trials 10 --output $@

results/ratios.json: | $(STAMP)
	@$(INSTALL) --quiet --editable '.[book,test,peers]'
	@$(RUN) -m benchmarks.ratios --output $@

results/stacked.json: | $(STAMP)
	@$(RUN) -m benchmarks.stacked --output $@

$(RELIABILITY:%=results/%.json): results/%.json: | $(STAMP)
	@$(INSTALL) --quiet --editable '.[book,test,quality]'
	@$(RUN) -m benchmarks.$*

results/machines.json: | $(STAMP)
	@$(RUN) -m benchmarks.machines python3.12 python3.13 --tests

results/noticed.json: | $(STAMP)
	@$(MAKE) --no-print-directory coverage mutants

notebook-strip: $(STAMP) ## remove outputs from notebooks/, cell ids kept
	@$(RUN) -m nbstripout --keep-id notebooks/*.ipynb

lock: ## resolve the pins of pyproject.toml anew into requirements.lock
	@rm -rf .venv-lock && "$(PYTHON)" -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --disable-pip-version-check '.[book,test,quality,peers,browser,npm,tensorboard]'
	@{ echo "# Every package of the environment, exactly; used as pip constraints. Made by 'make lock' from pyproject.toml."; \
	   .venv-lock/bin/python -m pip freeze --exclude ternary-vae-book | sed 's/+cpu$$//'; } > requirements.lock
	@rm -rf .venv-lock build

clean: ## remove everything that was built: the book, executed notebooks, the environment (runs/ stays)
	@rm -rf _build book/_build book/notebooks book/generated book/_static/vendor $(VENV) .venv-lock .pytest_cache *.egg-info
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
