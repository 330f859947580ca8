#include "cli/chunks.h"

#include <jansson.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

void chunks_clear(struct chunks *c)
{
	buf_clear(&c->out);
	buf_clear(&c->err);
}

static size_t length_of(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

// Of the character at s (RFC 3629, 4): its length; 0: it is none; more than n: the rest may be still to come.
static size_t character(const unsigned char *s, size_t n)
{
	size_t length = length_of(s[0]);
	for (size_t i = 1; i < length && i < n; i++) {
		unsigned char low = 0x80, high = 0xbf;
		if (i == 1 && (s[0] == 0xe0 || s[0] == 0xf0))
			low = s[0] == 0xe0 ? 0xa0 : 0x90;
		if (i == 1 && (s[0] == 0xed || s[0] == 0xf4))
			high = s[0] == 0xed ? 0x9f : 0x8f;
		if (s[i] < low || s[i] > high)
			return 0;
	}
	return length;
}

static void print(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(object);
}

// Prints the whole characters of pending; with at_end the others, too.
static void print_pending(struct buf *pending, const char *stream, bool at_end)
{
	AUTO_BUF struct buf text = BUF_INIT(4 * (CHUNK_MAX + 8));
	const unsigned char *bytes = (const unsigned char *)buf_data(pending);
	size_t at = 0, n = buf_len(pending);
	while (at < n) {
		size_t length = character(bytes + at, n - at);
		if (length > n - at && !at_end)
			break;
		bool whole = length && length <= n - at;
		buf_add(&text, whole ? (const char *)bytes + at : REPLACEMENT, whole ? length : strlen(REPLACEMENT));
		at += whole ? length : 1;
	}
	buf_consume(pending, at);
	if (buf_len(&text))
		print(json_pack("{s:s, s:s, s:s%}", "type", "output", "stream", stream, "text", buf_data(&text),
				buf_len(&text)));
}

void chunks_print(struct chunks *c, bool is_err, const char *bytes, size_t n)
{
	struct buf *pending = is_err ? &c->err : &c->out;
	buf_add(pending, bytes, n);
	print_pending(pending, is_err ? "err" : "out", false);
}

void chunks_end(struct chunks *c, int status)
{
	print_pending(&c->out, "out", true);
	print_pending(&c->err, "err", true);
	print(json_pack("{s:s, s:i}", "type", "exit", "exit", status));
}
