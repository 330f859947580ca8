// Reading instances' output as lines: one log directory (DATA/node/instances/ID/log, form: io/spool.h) or several
// merged by time. Reads files, so it blocks for as long as the page cache does; not thread-safe, any thread.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "io/loop.h"

#include <stdbool.h>
#include <stdint.h>

#define LOG_LINE_MAX 65536u // longer lines come in parts

enum log_stream { LOG_OUT = 1, LOG_ERR = 2 };
enum log_kind { LOG_LINE, LOG_GAP };

struct log_item {
	enum log_kind kind;
	enum log_stream stream;
	uint64_t time_ns; // unix time at which the line's first byte (of a part: the part's) was read from the instance
	void *source;     // as given to log_reader_add
	// LOG_LINE: without the newline; bytes as written, NULs and invalid UTF-8 included. Valid until the next call.
	const char *text;
	size_t len;
	bool continued; // the same line goes on in the next item of this stream
	bool moved;     // of a stream that log_reader_move has placed
	// LOG_GAP: output at this place was dropped: the spool was full (oldest first), or the disk was.
	uint64_t lost_bytes, lost_lines;
};

struct log_reader;

struct log_reader_spec {
	uint64_t since_ms; // unix time; 0: from the beginning
	uint64_t tail; // at most this many lines of those already there, over all sources together; LOG_TAIL_ALL: all
	// An unfinished last line is held back until its end comes. Without: given as it is, and nothing that is
	// written after the first log_reader_next.
	bool follow;
};

#define LOG_TAIL_ALL UINT64_MAX

struct log_reader *log_reader_new(const struct log_reader_spec *spec);
void log_reader_free(struct log_reader *reader); // NULL is fine

// Adds an instance's log directory; one that does not exist (yet) is empty. With follow, a source may be added at any
// time; `tail` then no longer applies to it, since_ms does.
void log_reader_add(struct log_reader *reader, const char *dir, void *source);

// A reader that is to go on where another one stopped asks for what is later than the last item, and moves the streams
// that were in the middle of a line then: their next item may be older than that one.
struct log_position {
	uint32_t segment, record, offset;
};

// Tells of each stream of which a part of a line, and not its end, was read: where the part that was not given begins.
void log_reader_unfinished(const struct log_reader *reader,
			   void (*tell)(void *source, enum log_stream stream, const struct log_position *at, void *arg),
			   void *arg);

// After log_reader_add: the stream begins there, whatever since_ms and tail say.
void log_reader_move(struct log_reader *reader, void *source, enum log_stream stream, const struct log_position *to);

// The source ends: what is there is still given, its unfinished line too, then it is dropped.
void log_reader_finish(struct log_reader *reader, void *source);

// 1: *ret is the next item by time; 0: nothing more now (with follow: ask again later); or a negative errno.
// With follow, items younger than 20 ms are held back so that sources merge in order.
int log_reader_next(struct log_reader *reader, struct log_item *ret, struct err *err);

// With follow: calls more(arg) from the loop whenever there may be something to read (looks every 100 ms; an item is
// passed on within 120 ms). The callback takes as much as it wants with log_reader_next; what it leaves is announced
// again.
void log_reader_watch(struct log_reader *reader, struct loop *loop, void (*more)(void *arg), void *arg);
void log_reader_unwatch(struct log_reader *reader);

// The last n lines of one log directory, out and err merged by time, each line ended by '\n' and cut to 4 KiB, appended
// to out as far as its max allows. For crash reports. A directory without output gives nothing and 0.
int logs_tail(const char *dir, unsigned n, struct buf *out, struct err *err);
