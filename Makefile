# Two doors: `make demo` and `make test`. The rest stands beside them.

VENV ?= .venv
BIN := $(VENV)/bin
# The first of these that is 3.11 or 3.12; looked for only when the environment is made.
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $$python && break; done)

IMAGE ?= brain-tumor-train:latest
SERVE_IMAGE ?= brain-tumor-serve:latest
TENSORFLOW ?= cuda
DOCKER ?= docker

.DEFAULT_GOAL := help
.PHONY: help demo install check test quick lint types compiled cluster-test benchmark results compile readmes docs chart image serve-image lock sbom audit

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Run the whole pipeline on sample data, here, in minutes
	$(BIN)/brain-tumor demo

install: $(VENV)/.installed ## Install all the rest: serving, object stores, clinic formats, development

# A file's tests share its fixtures; tests/order.py says which files are first. Threads of one worker
# would only wait for those of the other. All tests have twice the cores, because many wait.
TEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/pytest --dist loadfile --no-loadscope-reorder --numprocesses

check: $(VENV)/.installed ## Lint, check types, run the quick tests: those without TensorFlow and servers
	@$(MAKE) --no-print-directory --jobs 3 quick lint types

test: $(VENV)/.installed ## Lint, check types and the compiled pipelines, run every test
	@$(MAKE) --no-print-directory --jobs 2 lint types compiled
	$(TEST) 4

quick lint types compiled: $(VENV)/.installed
quick:
	$(TEST) auto --quick

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

compiled:
	$(BIN)/brain-tumor compile --check
	$(BIN)/brain-tumor compile --check --pipeline cross-validation
	$(BIN)/brain-tumor compile --check --pipeline drift

# On the cluster that KUBECONFIG names, with both images where its nodes find them.
cluster-test: $(VENV)/.installed ## Try it on a real cluster with KServe, and KFP where KFP_ENDPOINT names one
	IMAGE=$(IMAGE) SERVE_IMAGE=$(SERVE_IMAGE) $(BIN)/pytest -m cluster tests/cluster

DEMO_MODEL = runs/demo/registry/brain-tumor/1
benchmark: $(VENV)/.installed demo ## Run every short benchmark, on sample images; docs/experiments.md names the long runs
	@for script in benchmarks/[a-z]*.py; do module=benchmarks.$$(basename $$script .py); \
		echo "== $$module"; $(BIN)/python -m $$module || exit 1; done
	$(BIN)/python -m benchmarks.recipes pack --folder runs/recipes-sample
	$(BIN)/python -m benchmarks.runtimes --rounds 1 --seconds 0.2
	$(BIN)/python -m benchmarks.hostile --model $(DEMO_MODEL) --seconds 2
	$(BIN)/python -m benchmarks.serving --model $(DEMO_MODEL) --rounds 1 --seconds 1 --sizes 12 --rates ''

ON_IMAGES = --source $(SOURCE) --validation-share 0.15
# More threads add up in another order, and the last digits differ.
ONE_THREAD = TF_NUM_INTRAOP_THREADS=1
# Half a day on two cores. If it was stopped, give the same command again: it resumes.
results: $(VENV)/.installed ## Measure what is said of unseen images: make results SOURCE=path/to/archive.zip
	@test -n "$(SOURCE)" || { echo "Name the images: make results SOURCE=path/to/archive.zip"; exit 1; }
	$(ONE_THREAD) $(BIN)/brain-tumor cross-validate $(ON_IMAGES)
	$(ONE_THREAD) $(BIN)/brain-tumor cross-validate $(ON_IMAGES) --architecture reference \
		--learning-rate 0.0001 --dropout 0.2 --no-augmentation --epochs 20
	$(ONE_THREAD) $(BIN)/python -m benchmarks.ablation $(ON_IMAGES) --epochs 16 --folds 1,4 \
		--state runs/ablation
	$(BIN)/python -m benchmarks.averaging $(ON_IMAGES) --epochs 16 --fold 1 --state runs/averaging
	$(BIN)/brain-tumor run $(ON_IMAGES)
	$(BIN)/python -m benchmarks.inference --cpus 1
	$(BIN)/python -m benchmarks.inference

compile: $(VENV)/.installed ## Write the compiled pipelines again
	$(BIN)/brain-tumor compile --output pipelines/training.yaml
	$(BIN)/brain-tumor compile --output pipelines/cross_validation.yaml --pipeline cross-validation
	$(BIN)/brain-tumor compile --output pipelines/drift.yaml --pipeline drift

docs: $(VENV)/.docs ## Build the documentation as a site, its notebook too, into build/site
	OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

readmes: $(VENV)/.installed ## Write the README of each component from its code
	$(BIN)/python -m docs.component_readmes

chart: $(VENV)/.installed ## Write the templates of the Helm chart from the overlays and components
	$(BIN)/python manifests/helm.py

image: ## Build the training image; TENSORFLOW=cpu for one without CUDA
	$(DOCKER) build --file Dockerfile.train --tag $(IMAGE) --build-arg TENSORFLOW=$(TENSORFLOW) \
		--build-arg REVISION=$$(git rev-parse HEAD) .

serve-image: ## Build the predictor's image
	$(DOCKER) build --file Dockerfile.serve --tag $(SERVE_IMAGE) \
		--build-arg REVISION=$$(git rev-parse HEAD) .

# Locks are kept where they still fit; `make lock UPGRADE=--upgrade` takes the newest of everything.
COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url \
	--no-emit-find-links $(UPGRADE)
# One version of a package for every Python and platform.
EVERYWHERE = --universal --python-version 3.11 --fork-strategy fewest
# The image: what the tests ran with, KFP and all, so that `brain-tumor` works there too. KFP's API
# client has no wheel, so it has a lock of its own, and the image builds it.
SDIST = kfp-server-api
IN_IMAGE = --extra train --extra stores --extra clinic --extra deploy --extra signing \
	--constraints locks/dev.txt --no-emit-package $(SDIST) --excludes locks/not-in-training.txt \
	--python-version 3.11 \
	--python-platform x86_64-unknown-linux-gnu

# The predictor's image: no KFP and nothing that only training needs. OpenVINO runs the model on CPUs,
# TensorFlow on GPUs; see components/shared/model_folder/runtimes.
SERVING = --extra serve --extra clinic --extra signing --extra tracing --constraints locks/dev.txt \
	--excludes locks/not-in-serving.txt --python-version 3.11 \
	--python-platform x86_64-unknown-linux-gnu

lock: $(VENV)/.installed ## Resolve the dependencies again into locks/
	$(COMPILE) pyproject.toml $(EVERYWHERE) --output-file locks/dev.txt \
		--excludes locks/not-in-dev.txt \
		--extra train --extra cpu --extra stores --extra clinic --extra deploy --extra serve \
		--extra signing --extra tracing --extra dev
	$(COMPILE) pyproject.toml $(EVERYWHERE) --output-file locks/core.txt --constraints locks/dev.txt
	$(COMPILE) pyproject.toml $(EVERYWHERE) --output-file locks/demo.txt --constraints locks/dev.txt \
		--excludes locks/not-in-demo.txt --extra train --extra cpu
	$(COMPILE) pyproject.toml $(EVERYWHERE) --output-file locks/docs.txt --constraints locks/dev.txt \
		--extra docs
	$(COMPILE) pyproject.toml $(IN_IMAGE) --output-file locks/train-cpu.txt --extra cpu
	$(COMPILE) pyproject.toml $(IN_IMAGE) --output-file locks/train-cuda.txt --extra cuda
	$(COMPILE) pyproject.toml $(SERVING) --output-file locks/serve.txt
	$(COMPILE) pyproject.toml $(SERVING) --output-file locks/serve-cuda.txt --extra cuda \
		--excludes locks/not-in-serving-cuda.txt
	grep --only-matching '^$(SDIST)==[0-9.]*' locks/dev.txt \
		| $(COMPILE) - --no-deps --no-annotate --output-file locks/sdist.txt

# What the images hold, beside their base image.
SBOM = PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml \
	--output-reproducible

sbom: $(VENV)/.installed ## Write what each image holds into sbom/, as CycloneDX
	@mkdir -p sbom
	cat locks/train-cpu.txt locks/sdist.txt | $(SBOM) --output-file sbom/train-cpu.cdx.json -
	cat locks/train-cuda.txt locks/sdist.txt | $(SBOM) --output-file sbom/train-cuda.cdx.json -
	$(SBOM) --output-file sbom/serve.cdx.json locks/serve.txt
	$(SBOM) --output-file sbom/serve-cuda.cdx.json locks/serve-cuda.txt

# --strict: a package that the advisory service does not answer for is no package without advisories.
audit: $(VENV)/.installed ## Ask for known vulnerabilities of everything that is locked
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
		$(addprefix --requirement ,$(filter-out $(wildcard locks/not-in-*),$(wildcard locks/*.txt)))

# An environment that lacks pip or has another Python is made again. A lock is complete: nothing is
# resolved. --no-build-isolation: setuptools is locked too; it warns of every editable installation.
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
SITE = $(VENV)/lib/python3*/site-packages
# Nothing here loads these: C++ headers, two of XLA's libraries, and the packages' own tests.
UNUSED = tensorflow/include tensorflow/compiler/tf2xla/ops/_xla_ops.so \
	tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so */tests */*/tests
define INSTALL
@test -n "$(PYTHON)" || \
	{ echo "Python 3.11 or 3.12 is needed; install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	|| $(PYTHON) -m venv $$(test -f $(VENV)/pyvenv.cfg && echo --clear) $(VENV)
@echo "Installing what $< names into $(VENV): once, a minute or two"
@$(PIP) --require-hashes --requirement $<
@PYTHONWARNINGS=ignore $(PIP) --no-build-isolation --editable .
@rm -rf $(addprefix $(SITE)/,$(UNUSED))
endef
# Packages are not compiled when they are installed: what is used is compiled once, when it is.
export PYTHONDONTWRITEBYTECODE =

# Each is installed once for each change of its lock; the second has all of the first.
$(VENV)/.demo: locks/demo.txt pyproject.toml
	$(INSTALL)
	@touch $@

$(VENV)/.docs: locks/docs.txt $(VENV)/.demo
	$(INSTALL)
	@touch $@

$(VENV)/.installed: locks/dev.txt pyproject.toml
	$(INSTALL)
	@touch $(VENV)/.demo $@
