# Each of these but help makes .venv and installs what it needs by itself; the second time that takes no time.
.PHONY: help demo run test faults fuzz screenshots check

PYTHON := .venv/bin/python

help:
	@echo "make demo    train a network on real data and watch it"
	@echo "make run     start the server; Ctrl-C ends it (API_PORT=8001 make run: on another port)"
	@echo "make test    run all tests"
	@echo "make faults  kill every kind of process at random moments and check that no promise is broken (KILLS=30 SEED=…)"
	@echo "make fuzz    hold the live server to its description with 10,000 requests (EXAMPLES=… for each operation)"
	@echo "make screenshots  take the pictures of the README, from a server that trains"
	@echo "make check   run the linters and type checks"

demo: .venv/server
	@$(PYTHON) examples/demo.py

run: .venv/server
	@trap '' INT; $(PYTHON) manage.py prepare  # Ctrl-C takes effect behind it, not in the middle of a migration
	@echo "Starting web, worker and sampler at http://localhost:$${API_PORT:-8000} (Ctrl-C ends them)."
	@exec $(PYTHON) -m servermgmt.procfile

test: .venv/development
	@$(PYTHON) -m pytest -n 2 --dist worksteal  # the slowest tests lie together, and one process would be left with them

faults: .venv/development
	@KILLS=$(KILLS) SEED=$(SEED) $(PYTHON) -m tests.processes.campaign

fuzz: .venv/development
	@$(PYTHON) -m tests.boundary.fuzzing $(or $(EXAMPLES),230)

screenshots: .venv/development
	@$(PYTHON) -m tests.browser.screenshots

check: .venv/development
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .
	.venv/bin/lint-imports
	$(PYTHON) manage.py check
	$(PYTHON) manage.py makemigrations --check --dry-run
	$(PYTHON) manage.py spectacular --validate --fail-on-warn --file /dev/null

# The files that stand for "installed": newer than the list they were installed from.
.venv/server: requirements.txt
	@./setup.sh requirements.txt
	@touch $@

.venv/development: requirements-dev.txt .venv/server
	@./setup.sh requirements-dev.txt
	@touch $@
