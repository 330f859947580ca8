// Writing one output stream of an instance into its log directory (form: io/spool.h). Bytes go from FIFO to file inside
// the kernel (splice(2)), so whenever this process dies each byte is in the one or in the other.
#pragma once

#include "base/err.h"
#include "io/spool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool {
	const char *stream;       // "out" or "err"
	int segment_fd, index_fd; // -1: nothing written yet
	uint32_t oldest, number;  // segments that exist, when index_fd >= 0
	uint32_t size;            // of the segment
	uint32_t described;       // bytes of it that the index tells of
	uint32_t records;
	struct spool_head head; // of the segment; its discarded counts are what no record tells of yet
	int last_error;         // why bytes are being discarded now; 0: they are not
};

// Goes on where a predecessor stopped: bytes it could not describe any more get the present time.
// stream must outlive the spool. On an error the spool is usable: what it drains is tried again, else discarded.
int spool_open(struct spool *spool, const char *dir, const char *stream, struct err *err);
void spool_close(struct spool *spool);

// Moves what the FIFO (non-blocking) holds, at most about `budget` bytes. Returns true when it may hold more. Never
// fails: what cannot be written is read, counted and dropped, and told in the index as soon as that can be written.
bool spool_drain(struct spool *spool, const char *dir, int fifo, size_t budget);
