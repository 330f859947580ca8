# The front door. The work is in scripts/ and meson; see CONTRIBUTING.md.
BUILD := build
PREFIX := /usr/local

.PHONY: all deps up down check soak bench install format clean
all: deps
	@scripts/build $(BUILD)

deps:
	@scripts/install-deps

up: all
	@scripts/up

down:
	@scripts/down

check: deps
	@scripts/check

soak: all
	@scripts/soak

# make bench AREA=node|store|router; without AREA all of them
bench: all
	@scripts/bench $(AREA)

install: all
	@scripts/install "$(DESTDIR)$(PREFIX)"

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-*
