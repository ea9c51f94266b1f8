# Every command of the course. `make` alone lists them; src/course/ holds what they do.
# Works with GNU make 3.81, which macOS brings.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COURSE := $(BIN)/course
STAMP := $(VENV)/.setup
STATE := $(if $(COURSE_HOME),$(COURSE_HOME),.course)
TWEETS := $(STATE)/data/tweets_GroundTruth.txt

# Empty means: keep the remembered or the usual one, and move if somebody else has it.
AIRFLOW_PORT ?=
MLFLOW_PORT ?=
SITE_PORT ?=
KAFKA_PORT ?=
STATSD_PORT ?=
export AIRFLOW_PORT MLFLOW_PORT SITE_PORT KAFKA_PORT STATSD_PORT
# The same for the stack in containers, which writes them into .env.
export S3_PORT MODEL_PORT GRAFANA_PORT PROMETHEUS_PORT ALERTMANAGER_PORT INBOX_PORT STATSD_EXPORTER_PORT PROFILES

# Without compiled modules every process would compile all of Airflow again, for seconds each time.
unexport PYTHONDONTWRITEBYTECODE

# Only a Python that nobody asked for by name is replaced by a better one.
ifeq ($(origin PYTHON),file)
CANDIDATES := $(PYTHON) python3.13 python3.12 python3.11
else
CANDIDATES := $(PYTHON)
endif

.DEFAULT_GOAL := help
.PHONY: help setup lock demo start stop status logs doctor lab airflow topics send check watch hint solution reset progress grade clean test test-exercises bench bench-compare simulate lint format lectures-sync quiz site serve-site reset-demo up down ps stack-logs scale demo-stack test-stack k8s-secrets test-k8s

##@ Begin

help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo

setup: $(STAMP) $(TWEETS) ## create the environment from the lock (the others do it by themselves)

demo: setup ## train on real flights in a real Airflow, with a verdict (MODEL=…), or show any pipeline (DAG=…)
	@$(COURSE) demo $(if $(DAG),"$(DAG)") $(if $(MODEL),--model "$(MODEL)") $(if $(ANSWER),--answer "$(ANSWER)")

##@ The stack on this machine

start: setup ## start Airflow, MLflow, Kafka, PostgreSQL (AIRFLOW_PORT=, MLFLOW_PORT=, KAFKA_PORT=, …)
	@$(COURSE) start

stop: setup ## stop it and verify that nothing is left
	@$(COURSE) stop

status: setup ## health, memory and addresses
	@$(COURSE) status

logs: setup ## the logs of all components, or of one (C=scheduler, FOLLOW=1)
	@$(COURSE) logs $(C) $(if $(FOLLOW),--follow)

doctor: setup ## check this machine and the stack; each finding with what mends it
	@$(COURSE) doctor

lab: setup ## watch a pitfall, or find and mend a planted fault (NAME=…, MEND=1); lists them
	@$(COURSE) lab $(if $(NAME),"$(NAME)") $(if $(MEND),--mend)

airflow: setup ## Airflow's own command line in the stack (ARGS="dags list")
	@$(COURSE) airflow $(ARGS)

topics: setup ## the topics of the Kafka broker, and what lies in each
	@$(COURSE) topics

# The message reaches the command as it is, whatever quotes and spaces are in it.
send: export MESSAGE := $(MESSAGE)
send: TOPIC ?= ml.training.requests
send: setup ## send a message to a Kafka topic (MESSAGE='{…}', TOPIC=ml.training.requests)
	@$(COURSE) send "$(TOPIC)" "$$MESSAGE"

reset-demo: setup ## empty the stack and deploy one model: where demonstrations begin (DAG=…, YES=1 does not ask)
	@$(COURSE) reset-demo $(if $(DAG),"$(DAG)") $(if $(YES),--yes)

clean: setup ## stop the stack and delete its data, asking first (YES=1 does not ask)
	@$(COURSE) clean $(if $(YES),--yes)

##@ The stack in containers

up: setup ## build, start and seed every service, then show the addresses (PROFILES=core,ml, AIRFLOW_PORT=, …)
	@$(COURSE) up

down: setup ## stop the containers; their data stay
	@$(COURSE) down

ps: setup ## each container with its health and memory, and the addresses
	@$(COURSE) ps

stack-logs: setup ## the logs of all containers, or of one service (C=worker, FOLLOW=1)
	@$(COURSE) stack-logs $(C) $(if $(FOLLOW),--follow)

scale: setup ## run this many Celery workers (WORKERS=4)
	@$(COURSE) scale $(or $(WORKERS),2)

demo-stack: setup ## the demo in the containers, with the same verdict (DAG=…, MODEL=…)
	@$(COURSE) demo-stack $(if $(DAG),"$(DAG)") $(if $(MODEL),--model "$(MODEL)") $(if $(ANSWER),--answer "$(ANSWER)")

##@ Kubernetes

k8s-secrets: setup ## create the Secrets that k8s/ refers to, with generated values, in a local cluster
	@$(COURSE) k8s-secrets

##@ Learn

# The exercise: 1 to 6, or capstone.
EX ?=

check: setup ## run your DAG and say which tasks are done (EX=2)
	@$(COURSE) check $(or $(EX),1) $(ARGS)

watch: setup ## the same at each save (EX=2)
	@$(COURSE) watch $(or $(EX),1) $(ARGS)

hint: setup ## the next hint for a task, from general to specific (EX=2 STEP=3)
	@$(COURSE) hint $(or $(EX),1) $(or $(STEP),1)

solution: setup ## your file beside ours, once yours passes (EX=2, ANYWAY=1)
	@$(COURSE) solution $(or $(EX),1) $(if $(ANYWAY),--anyway)

reset: setup ## EX=2: back to the starter, your file is kept; without EX: delete the stack in containers
	@$(COURSE) $(if $(EX),reset $(EX),reset-stack $(if $(YES),--yes))

progress: setup ## how far you are in each exercise
	@$(COURSE) progress

grade: setup ## grade a folder of submissions into a table (DIR=…, EX=2)
	@$(COURSE) grade "$(DIR)" $(EX) $(ARGS)

quiz: setup ## questions on the lectures, with answers (TOPIC=scheduling)
	@$(COURSE) quiz $(if $(TOPIC),"$(TOPIC)") $(ARGS)

##@ Read

site: setup ## build the course as a site, into the folder site
	@$(COURSE) mermaid
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is built: make serve-site shows it."

serve-site: setup ## show the site at http://127.0.0.1:8000, and again at each save (PAGES_PORT=8000)
	@$(COURSE) mermaid
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:$(or $(PAGES_PORT),8000)

##@ Work on the course

test: setup ## every test that needs no container engine (ARGS="-k name")
	@$(BIN)/pytest -m "not bench and not proof and not stack and not cluster" --numprocesses 2 $(ARGS)

test-exercises: setup ## every starter, solution and mistake through the grader; every pitfall
	@$(BIN)/pytest -m proof tests/exercises tests/labs --numprocesses 2 $(ARGS)

test-stack: setup ## the stack in containers, on a project and ports of its own
	@$(BIN)/pytest -m stack tests/stack tests/monitoring $(ARGS)

test-k8s: setup ## a cluster end to end, in namespaces of its own (the current context, if it is local)
	@$(BIN)/pytest -m cluster tests/k8s $(ARGS)

bench: setup ## measure it all, which takes hours (ONLY=throughput, SOAK_MINUTES=5, POOL=1 adds a run)
	@BENCH_POOL=$(POOL) $(BIN)/pytest -m bench tests/bench $(if $(ONLY),-k "$(ONLY)") $(ARGS)

bench-compare: setup ## your figures beside those that git has, spread against spread (WITH=HEAD~1)
	@$(COURSE) bench-compare $(WITH) $(ARGS)

simulate: setup ## how long tasks would wait on a platform of another size (TASKS=200000, WORKERS=8, SECONDS=60)
	@$(COURSE) simulate $(if $(TASKS),--tasks-per-day $(TASKS)) $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(SECONDS),--task-seconds $(SECONDS)) $(ARGS)

lectures-sync: setup ## put the excerpts and the measured figures of the pages up to date
	@$(BIN)/python -m course.pages

lint: setup ## style, types, direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## let ruff format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

LOCK = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --quiet
lock: setup ## resolve requirements.in into requirements.txt, and the parts of the images out of it
	@$(LOCK) requirements.in -o requirements.txt
	@for image in training training-gpu airflow; do \
		$(LOCK) -c requirements.txt requirements/$$image.in -o requirements/$$image.txt; done

$(STAMP): requirements.txt pyproject.toml src/course/bootstrap.py
	@for python in $(CANDIDATES); do \
		if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
		then "$$python" -I src/course/bootstrap.py "$(VENV)" && touch $@; exit; fi; \
	done; \
	found=$$("$(PYTHON)" --version 2>/dev/null) || found="not there"; \
	echo "✗ The course needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$found." >&2; \
	echo "  → install one (https://www.python.org/downloads/), then: make setup PYTHON=/path/to/python3.12" >&2; \
	exit 1

$(TWEETS): | $(STAMP)
	@$(COURSE) tweets
