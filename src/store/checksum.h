// CRC-32C (Castagnoli; RFC 3720, B.4) over rows of the log: a flipped byte is found.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Continues from crc; start with 0.
uint32_t checksum_add(uint32_t crc, const void *bytes, size_t n);
