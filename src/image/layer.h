// Layers: directory trees named by the digest of their content, unpacked once in the cache and shared by all instances.
//
//   CACHE/layers/sha256-HEX/root/     the tree, owned by root, every time stamp the same
//   CACHE/layers/sha256-HEX/manifest  one line a path: TYPE MODE UID GID DIGEST|TARGET|- PATH, sorted; its sha256 is
//   the name CACHE/layers/sha256-HEX/.ready    there when complete
//
// Blocks. Safe against several processes at once: made in a temporary folder, renamed.
#pragma once

#include "base/err.h"
#include "base/id.h"

#include <stdbool.h>
#include <stdint.h>

#define LAYER_TIME 1577836800 // 2020-01-01, of everything in a layer

// CACHE/layers/sha256-HEX/root. Caller frees. Says nothing of whether it is there.
char *layer_path(const char *cache, const char *digest);
bool layer_ready(const char *cache, const char *digest);

// Takes over the tree at dir (on the file system of the cache; gone afterwards): owner root, set-id bits off, one time
// for all, then digest and rename into place. -EINVAL names devices, sockets and FIFOs.
int layer_commit(const char *cache, const char *dir, char ret_digest[DIGEST_SIZE], uint64_t *ret_bytes,
		 struct err *err);

// Reads everything again: -EBADMSG names the first path whose content, mode or owner is not what the digest stands
// for; -ENOENT when the layer is not there.
int layer_verify(const char *cache, const char *digest, struct err *err);

// The canonical text of a tree; its sha256 is the layer's digest. Appends to *ret_text (heap).
int layer_manifest(const char *root, char **ret_text, uint64_t *ret_bytes, struct err *err);
