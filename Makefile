# make cloud      a cloud on this machine, from nothing to a guest that answers
# make cloud-down takes it away again
# make lint, test, test-long, bench
PYTEST_ARGS ?=

.PHONY: help venv lint test test-long bench cloud cloud-down clean

help:
	@echo "make venv        Debian packages (as root) and .venv; does nothing when nothing changed"
	@echo "make lint        every check that needs no machine"
	@echo "make test        the tests (as root: also those on nspawn machines and guests)"
	@echo "make test-long   the long ones"
	@echo "make bench       the figures"
	@echo "make cloud       a cloud on this machine, with a guest in it (as root)"
	@echo "make cloud-down  removes it"
	@echo "make clean       removes what was built, but .venv"

venv:
	@tools/venv.sh

lint: venv
	@.venv/bin/python tools/lint.py

test: venv
	@.venv/bin/pytest -m "not long" -n 2 --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

test-long: venv
	@.venv/bin/pytest -m long $(PYTEST_ARGS)

bench: venv
	@.venv/bin/python -m tests.bench

cloud:
	@/usr/bin/python3 tools/cloud.py up

cloud-down:
	@/usr/bin/python3 tools/cloud.py down

clean:
	@find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .ansible
