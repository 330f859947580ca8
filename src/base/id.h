// Random identifiers and secrets from the kernel, and digests.
#pragma once

#include "base/cleanup.h"

#include <stdint.h>

void random_bytes(void *out, size_t n); // from getrandom(2); cannot fail

#define UID_SIZE 27
// An object's uid: 26 lower-case base32 characters, 130 random bits. Sorts by nothing.
void uid_new(char uid[UID_SIZE]);

#define DIGEST_SIZE 72
// "sha256:" and 64 lower-case hex digits.
void digest_of(const void *bytes, size_t n, char digest[DIGEST_SIZE]);

// A digest computed piece by piece. digest_finish frees; digest_abort frees without a result (NULL is fine).
struct digest *digest_new(void);
void digest_add(struct digest *d, const void *bytes, size_t n);
void digest_finish(struct digest *d, char digest[DIGEST_SIZE]);
void digest_abort(struct digest *d);

// True for exactly the form that digest_of writes.
int digest_valid(const char *text);
