// Tar as bytes in and bytes out: a reader that is fed pieces as they come from a connection, a writer that is asked for
// the next piece. ustar with pax records for what does not fit (POSIX.1-2017, pax "Interchange Format"). The reader
// also takes GNU long names; it refuses every entry kind but files, directories and links, and checks each header's
// sum.
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum tar_kind { TAR_FILE, TAR_DIR, TAR_LINK, TAR_HARD_LINK };

struct tar_entry {
	enum tar_kind kind;
	const char *path;   // as written, a trailing "/" of directories removed; valid during the call only
	const char *target; // links
	unsigned mode;      // permission bits
	uint64_t size;      // files
};

struct tar_sink {
	// An entry begins; for files its size bytes follow in data() calls, then end(). Each returns 0, or a negative
	// errno with err set, which ends the reading. end may be NULL.
	int (*begin)(void *arg, const struct tar_entry *entry, struct err *err);
	int (*data)(void *arg, const void *bytes, size_t n, struct err *err);
	int (*end)(void *arg, struct err *err);
	void *arg;
	uint64_t max_entries; // 0: no limit
	uint64_t max_bytes;   // of all files; 0: no limit
};

struct tar_reader;
struct tar_reader *tar_reader_new(const struct tar_sink *sink); // sink is copied
void tar_reader_free(struct tar_reader *t);                     // NULL is fine

// Takes all n bytes. -EBADMSG malformed, -E2BIG a limit, or what the sink returned. After an error only free.
int tar_reader_push(struct tar_reader *t, const void *bytes, size_t n, struct err *err);

// The stream is over: -EBADMSG when the end mark was not there yet (the stream was cut).
int tar_reader_finish(struct tar_reader *t, struct err *err);

// Writing: append a header, then exactly entry->size bytes of content, then the padding; tar_write_end at the very end.
int tar_write_header(struct buf *out, const struct tar_entry *entry);
int tar_write_padding(struct buf *out, uint64_t size);
int tar_write_end(struct buf *out);
uint64_t tar_header_size(const struct tar_entry *entry); // bytes that tar_write_header appends
