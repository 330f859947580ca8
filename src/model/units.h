// Sizes, lengths of time and shares of a core as people write them.
#pragma once

#include "base/err.h"

#include <stdint.h>

// "256M": a whole number with K, M, G or T (1024-based; KB and KiB mean the same). A number without a unit is refused
// with a hint (-EINVAL), except "0"; -ERANGE beyond INT64_MAX.
int parse_bytes(const char *text, uint64_t *ret, struct err *err);

// "500ms", "5s", "10m", "1h". A number without a unit is refused with a hint, except "0"; -ERANGE beyond UINT32_MAX ms.
int parse_duration(const char *text, uint32_t *ret_ms, struct err *err);

// "2", "0.5" (cores, at most three decimals) or "500m" (thousandths).
int parse_cpu(const char *text, uint32_t *ret_millis, struct err *err);

// The shortest exact form, which the parsers above read back: "256M", "1500ms", "0.5".
#define UNIT_TEXT_SIZE 32
void bytes_text(uint64_t bytes, char text[UNIT_TEXT_SIZE]);
void duration_text(uint64_t ms, char text[UNIT_TEXT_SIZE]);
void cpu_text(uint32_t millis, char text[UNIT_TEXT_SIZE]);
