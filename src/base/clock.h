// Clocks. Not to be used in src/plan: time comes in as an argument there.
#pragma once

#include <stdint.h>

uint64_t monotonic_ns(void);
uint64_t monotonic_ms(void);
uint64_t realtime_ms(void); // since 1970, UTC
uint64_t realtime_ns(void);

#define TIME_TEXT_SIZE 32
// RFC 3339, UTC, milliseconds: "2026-01-02T03:04:05.678Z".
void time_text(uint64_t unix_ms, char text[TIME_TEXT_SIZE]);
