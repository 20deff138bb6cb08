# make run    sets everything up and opens heaptop (ARGS="-b emulator:leak-fd" passes options)
# make test   sets everything up and runs every check
# make test-vm    boots real kernels in QEMU and runs heaptop on them (tests/vm/README.md)
# make bench      measures what heaptop costs, next to its peers (BENCH=section runs one, see docs/performance.md)
# make vm-kernel  builds a kernel for that (KERNEL=6.12)
# make test-vm-arm64  the same on an emulated arm64 machine (make vm-kernel VM_MACHINE=arm64 builds its kernel)
.DELETE_ON_ERROR:
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard heaptop/analysis/*.pyx heaptop/assemble/*.px[yd] heaptop/*.px[yd] heaptop/parse/*.px[yd] emulator/heaptop_emulator/*.px[yd] heaptop/scan/*.px[yd] heaptop/scan/*.h heaptop/trace/supervise/*.px[yd])
INPUTS := pyproject.toml constraints.txt tools/prepare.sh $(SOURCES)
export PATH := $(CURDIR)/$(BIN):$(PATH)
ARGS ?=
PYTEST_ARGS ?= -n 2 --dist worksteal
VM_ARGS ?=
BENCH ?=
KERNEL ?= 6.12

.PHONY: run test check lint types layers tests format snapshots pictures dist clean test-vm test-vm-arm64 bench vm-kernel

run: $(VENV)/.ready-run
	@$(BIN)/heaptop $(ARGS)

test: $(VENV)/.ready-dev
	$(MAKE) --no-print-directory check

check: lint types layers tests

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/cython-lint emulator heaptop

types: $(VENV)/.ready-dev
	$(BIN)/mypy

layers: $(VENV)/.ready-dev
	$(BIN)/lint-imports

tests: $(VENV)/.ready-dev
	$(BIN)/pytest $(PYTEST_ARGS) --cov --cov-report=term

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-vm: $(VENV)/.ready-dev
	$(BIN)/pytest -m vm -s -v tests/vm $(VM_ARGS)

bench: $(VENV)/.ready-dev
	$(BIN)/python -m tools.bench $(BENCH)

test-vm-arm64: $(VENV)/.ready-dev
	$(BIN)/python -m tests.vm.arm64 $(VM_ARGS)

vm-kernel:
	tests/vm/kernel/build.sh $(KERNEL) $(VM_MACHINE)

pictures: $(VENV)/.ready-run
	$(BIN)/python tools/pictures.py

snapshots: $(VENV)/.ready-dev
	$(BIN)/pytest tests/tui --snapshot-update

dist: $(VENV)/.ready-dev
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info heaptop.egg-info emulator/*.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache
	rm -f emulator/heaptop_emulator/*.c emulator/heaptop_emulator/*.so heaptop/*.c heaptop/*.so heaptop/analysis/*.c heaptop/analysis/*.so heaptop/assemble/*.c heaptop/assemble/*.so heaptop/parse/*.c heaptop/parse/*.so heaptop/scan/*.c heaptop/scan/*.so heaptop/trace/supervise/*.c heaptop/trace/supervise/*.so

$(VENV)/.ready-run: $(INPUTS)
	@tools/prepare.sh run

$(VENV)/.ready-dev: $(INPUTS)
	@tools/prepare.sh dev
	@touch $(VENV)/.ready-run
