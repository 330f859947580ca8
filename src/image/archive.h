// Archives that people bring (zip, jar, tar, tar.gz, tar.xz, tar.zst …), unpacked without trusting a byte of them.
// Refused by name: absolute paths, "..", links that lead out or through other links, devices and other special files,
// the same path twice, and more than the limits allow (decompression bombs). Blocks.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct archive_limits {
	uint64_t entries;
	uint64_t file_bytes; // one file
	uint64_t bytes;      // all files
	unsigned ratio;      // unpacked : packed, judged beyond the first 16 MiB
};

#define ARCHIVE_LIMITS_DEFAULT                                                                                         \
	((struct archive_limits){ .entries = 250000, .file_bytes = 2ull << 30, .bytes = 8ull << 30, .ratio = 200 })

// Unpacks the archive file into dir, which must exist and be empty. On failure (-EBADMSG malformed or hostile, -E2BIG
// limits) dir holds part of the content and is to be removed. limits may be NULL.
int archive_unpack(const char *path, const char *dir, const struct archive_limits *limits, struct err *err);

// The same from memory; name is what errors call it.
int archive_unpack_bytes(const void *bytes, size_t n, const char *name, const char *dir,
			 const struct archive_limits *limits, struct err *err);
