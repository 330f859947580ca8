// A tenant's content store: a directory of files named by their digest. What is in it is durable and was verified when
// it was put; it is verified again while it is read. Never shared between tenants.
//
//   DIR/files/sha256-HEX       file contents
//   DIR/artifacts/sha256-HEX   artifact manifests
//   DIR/tmp/                   what is being received; emptied at blobs_open
//
// Everything here blocks: call it from the thread pool. One struct blobs may be used by several threads at once.
#pragma once

#include "base/err.h"
#include "image/artifact.h"

#include <stdbool.h>
#include <stdint.h>

struct blobs;

// Opens DIR (made when missing).
int blobs_open(const char *dir, struct blobs **ret, struct err *err);
void blobs_close(struct blobs *b); // NULL is fine

bool blobs_has(const struct blobs *b, const char *digest);

// For reading; size of the content in *ret_size. -ENOENT names the digest. Compare what was read with the digest.
int blobs_open_file(const struct blobs *b, const char *digest, int *ret_fd, uint64_t *ret_size, struct err *err);

// Indexes (into digests) of those that are not here, in *ret (n entries of room); returns how many. Invalid ones count
// as missing.
size_t blobs_missing(const struct blobs *b, const char *const *digests, size_t n, size_t *ret);

// Manifests. Put parses the text (-EBADMSG with a reason) and fails with -ENOENT when blobs it names are missing: their
// digests are then in *ret_missing (allocated array of *ret_n_missing strings; free each and the array), at most 1000.
int blobs_put_artifact(struct blobs *b, const char *digest, const char *text, size_t n, char ***ret_missing,
		       size_t *ret_n_missing, struct err *err);
int blobs_get_artifact(const struct blobs *b, const char *digest, struct artifact *ret, struct err *err);

// Receiving a tar stream whose entries are files named by their digest ("sha256:HEX"). Push pieces as they come, then
// finish: the blobs are all durable when it returns 0. Each is compared with its name; the first that differs ends it
// with -EBADMSG. Nothing of a failed or freed receiver stays, unless finish had begun.
struct blob_receiver;
struct blob_receiver *blob_receiver_new(struct blobs *b, uint64_t max_bytes);
int blob_receiver_push(struct blob_receiver *r, const void *bytes, size_t n, struct err *err);
int blob_receiver_finish(struct blob_receiver *r, size_t *ret_stored, struct err *err);
void blob_receiver_free(struct blob_receiver *r); // NULL is fine; also after finish

// Removes files and manifests that keep() does not want and that are older than min_age_ms. For the garbage collector.
int blobs_sweep(struct blobs *b, bool (*keep)(void *arg, const char *digest), void *arg, uint64_t min_age_ms,
		size_t *ret_removed, struct err *err);
