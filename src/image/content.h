// An artifact's content as a byte stream, made piece by piece (for a request or response body), and taken apart again
// into a layer's directory.
//
// Two streams, both tar:
//   upload   one file entry for each wanted digest, named by it; from the directory that was packed
//   content  first a file "manifest" (the artifact's text), then the entries in its order under "app/"; from blobs
// Everything here blocks on files: servers call it from the thread pool.
#pragma once

#include "base/err.h"
#include "image/artifact.h"
#include "image/blobs.h"

struct content;

// The upload stream of the files of a (packed from dir) whose digest is among the n wanted ones. a must live as long.
struct content *content_upload(const struct artifact *a, const char *dir, const char *const *wanted, size_t n);

// The content stream. Takes over *a (which is empty afterwards). b must live as long. base, if not NULL, is an artifact that
// the reader has: files with the content of one of its files are left out.
struct content *content_download(struct artifact *a, const struct blobs *b, const struct artifact *base);

uint64_t content_size(const struct content *c); // bytes of the whole stream, for Content-Length and progress

// The next up to size bytes; 0 at the end; negative errno with err set: -EBADMSG when a file does not have its digest
// (any more), named; the stream must then be broken off.
ssize_t content_read(struct content *c, void *bytes, size_t size, struct err *err);
void content_free(struct content *c); // NULL is fine

// Where an unpacked artifact is: DIR/sha256-HEX. The app's files are under its "root/app". Caller frees.
char *unpacked_path(const char *dir, const char *digest);
bool unpacked_ready(const char *dir, const char *digest);

// Unpacks a content stream into DIR/sha256-HEX: push pieces, then finish (verified, durable, renamed, ".ready"
// written). The manifest must have the digest asked for, each entry must be the next one of it with the same content.
// Anything else is refused by name with -EBADMSG. Two at once for the same digest are fine.
struct unpacker;
int unpacker_new(const char *dir, const char *digest, struct unpacker **ret, struct err *err);
// Before the first push: the stream leaves out the files of this artifact, which is unpacked in DIR as well. They are
// compared with their digests and taken from there.
int unpacker_base(struct unpacker *u, const char *digest, struct err *err);
int unpacker_push(struct unpacker *u, const void *bytes, size_t n, struct err *err);
int unpacker_finish(struct unpacker *u, struct err *err);
void unpacker_free(struct unpacker *u); // removes what is unfinished; NULL is fine

// Compares an unpacked artifact with its manifest again: -EBADMSG names the first file that differs.
int unpacked_verify(const char *dir, const char *digest, struct err *err);
