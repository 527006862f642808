# Everything a person or a machine runs on this project. `make` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Further arguments of the command that is run: make serve ARGS='--port 9000', make test ARGS='-n 0 -k upload'.
ARGS ?=
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' service/__init__.py)
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Since 1.29 ONNX Runtime otherwise reports its use over the network.
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve install test install-test docker-test lint format types image street-model playground-picture report-pictures lock clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

serve: $(VENV)/.serving ## install what serving needs and start the service on port 8000
	@exec $(BIN)/roadcue serve $(ARGS)

install: $(VENV)/.serving ## install what serving needs, and what asks it, into .venv

# The tests of a module share what is slow to set up and stay in one process; the slowest modules come first.
test: $(VENV)/.complete ## install everything and run the quick tests, on up to four cores
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder $(ARGS)

install-test: $(VENV)/.complete ## clone the last commit and start it as a newcomer does
	@$(BIN)/python -m pytest -m install tests/deployment $(ARGS)

docker-test: $(VENV)/.complete ## build and start the image and the compose file, and test them
	@$(BIN)/python -m pytest -m docker tests/deployment $(ARGS)

lint: $(VENV)/.complete ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.complete ## mend style and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.complete ## check types
	@$(BIN)/mypy

image: ## build the Docker image for CPUs; LIBRARIES=cuda for GPUs
	docker build --build-arg LIBRARIES=$(or $(LIBRARIES),cpu) \
		--tag roadcue:$(VERSION)-$(or $(LIBRARIES),cpu) --tag roadcue:$(or $(LIBRARIES),cpu) .

# How the embedded model was made; then held to the one that is published.
STREET_TEST_SETS = --test-set four_label=stop_mbasilyan+lisa_ts --test-set camvid=camvid \
	--test-set kitti_mini=kitti_mini --test-set adas_peru=adas_peru

street-model: $(VENV)/.complete ## train the embedded model anew: DATA=folder of frames, DETECTOR=YOLOX file; goes on where it was stopped
	@test -n "$(DATA)" -a -n "$(DETECTOR)" || { echo "usage: make street-model DATA=FOLDER DETECTOR=FILE.onnx" >&2; exit 2; }
	@mkdir -p runs
	@test -e runs/street/resume.pt || $(BIN)/roadcue-train teach $(DETECTOR) $(DATA) --output runs/street-teacher.csv --overwrite
	@$(BIN)/roadcue-train train $(DATA) --recipe street --teacher runs/street-teacher.csv --detector $(DETECTOR) \
		--output runs/street $$(test ! -e runs/street/resume.pt || echo --resume)
	@$(BIN)/roadcue-train export runs/street $(DATA) --teacher runs/street-teacher.csv --output runs/street.onnx --overwrite \
		--licence Apache-2.0 --remarks model_training/street_remarks.md $(STREET_TEST_SETS)
	@$(BIN)/roadcue-train reproduces runs/street.onnx service/models/street.onnx

playground-picture: $(VENV)/.complete ## draw the README's picture of the playground; needs Chromium
	@$(BIN)/python docs/pictures/playground_picture.py docs/images/playground.png

report-pictures: $(VENV)/.complete ## draw the README's pictures of reports: DATA=folder of frames, EVALUATION=page of evaluate --part robustness; needs Chromium
	@test -n "$(DATA)" -a -n "$(EVALUATION)" || { echo "usage: make report-pictures DATA=FOLDER EVALUATION=FILE.html" >&2; exit 2; }
	@mkdir -p runs
	@$(BIN)/roadcue-train data $(DATA) --output runs/data-report.html --overwrite
	@$(BIN)/python docs/pictures/report_picture.py runs/data-report.html docs/images/data-report.png --heading "Entries per label" --height 590
	@$(BIN)/python docs/pictures/report_picture.py $(EVALUATION) docs/images/evaluation-report.png --heading Calibration
	@$(BIN)/python docs/pictures/report_picture.py $(EVALUATION) docs/images/robustness.png --heading Robustness --height 628

# Pins stay as they are unless a requirement changed; `make lock ARGS=--upgrade` moves all of them.
lock: $(VENV)/.complete ## write constraints.txt anew from pyproject.toml
	@$(BIN)/pip-compile --quiet --all-extras --strip-extras --no-header --no-annotate \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links $(ARGS) --output-file constraints.txt pyproject.toml
	@sed -i -e '/^#/d' -e '/^$$/d' -e 's/ *;.*//' constraints.txt
	@sed -n 's/^onnxruntime-gpu==/onnxruntime==/p' constraints.txt >> constraints.txt

clean: ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Roadcue needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
			"Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# The stamps make the second call instant; they are older than the files that say what to install when these change.
$(VENV)/.serving: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what serving needs into $(VENV) ..." >&2
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.complete: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what serving, training and testing need into $(VENV) (PyTorch with CUDA: about 6 GB) ..." >&2
	@$(PIP_INSTALL) --editable '.[training,dev,otel,parquet,video]'
	@touch $(VENV)/.serving $@
