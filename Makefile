# Two commands: `make run` sets up and starts a simulated building, `make test` sets up and passes all tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# As root directly, else through sudo; only called where a Debian package is missing.
APT = if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -y -q $(1); \
	else sudo apt-get update -q && sudo apt-get install -y -q $(1); fi

.PHONY: run test crash plugs bench lint types fast clean

run: $(VENV)/.ready
	@exec $(BIN)/opencrate up --demo

# Side by side: what starts Ray in one process, which mostly waits, all other files in another (tests/conftest.py).
SIDE_BY_SIDE := -n 2 --dist loadgroup --no-loadscope-reorder

test: $(VENV)/.ready-for-tests lint types
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

fast: $(VENV)/.ready-for-tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not cluster and not browser and not plugs"

# A long run of the crash tests and of garbage to the API, with how many of what.
crash: $(VENV)/.ready-for-tests
	OPENCRATE_CRASH_KILLS=30 OPENCRATE_CRASH_SECONDS=600 $(BIN)/python -m pytest -s tests/crash tests/cluster/test_crash.py
	OPENCRATE_FUZZ=20000 $(BIN)/python -m pytest -s tests/api/test_garbage.py

# Hosts in namespaces whose links, heads, disks and actors are pulled, and a table of what that cost. Needs root.
plugs: $(VENV)/.ready-for-tests
	@{ PATH="$$PATH:/usr/sbin"; command -v sshd && command -v rsync && command -v cc; } >/dev/null \
		|| { echo "installing openssh-server, rsync and gcc"; $(call APT,openssh-server rsync gcc libc6-dev); }
	$(BIN)/python -m pytest -s -m plugs tests/cluster

# The figures that must hold, each beside its peer; writes bench/results.md. `ARGS=--large` adds the long run.
bench: $(VENV)/.ready-for-bench
	$(BIN)/python -m bench $(ARGS)

lint: $(VENV)/.ready-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.ready-for-tests
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "installing python3-venv"; $(call APT,python3-venv); }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(VENV)/bin/python pyproject.toml requirements.txt
	@echo "Setting up (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check -c requirements.txt -e .
	@touch $@

$(VENV)/.ready-for-tests: $(VENV)/.ready
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.txt -e '.[dev]'
	@PATH="$$PATH:/usr/sbin:/sbin"; command -v ip >/dev/null || { echo "installing iproute2"; $(call APT,iproute2); }
	@command -v chromium >/dev/null || { echo "installing chromium"; $(call APT,chromium); }
	@command -v systemd-analyze >/dev/null || { echo "installing systemd"; $(call APT,systemd); }
	@command -v prometheus >/dev/null || { echo "installing prometheus"; $(call APT,prometheus); }
	@touch $@

$(VENV)/.ready-for-bench: $(VENV)/.ready
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.txt -e '.[bench]'
	@{ PATH="$$PATH:/usr/sbin"; command -v redis-server && command -v mosquitto; } >/dev/null \
		|| { echo "installing redis-server and mosquitto"; $(call APT,redis-server mosquitto); }
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
