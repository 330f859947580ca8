# The front door. The work is in scripts/ and meson; see CONTRIBUTING.md.
BUILD := build
PREFIX := /usr/local

.PHONY: all deps deps-check up down check soak bench install format clean
.NOTPARALLEL:

all: deps
	@scripts/build $(BUILD)

deps:
	@scripts/install-deps run build

deps-check:
	@scripts/install-deps run build check

up:
	@scripts/up

down:
	@scripts/down

check: deps-check
	@scripts/check

soak: deps-check all
	@scripts/soak

# make bench AREA=node|store|router; without AREA all of them
bench: deps-check all
	@scripts/bench $(AREA)

install: all
	@scripts/install "$(DESTDIR)$(PREFIX)"

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-*
