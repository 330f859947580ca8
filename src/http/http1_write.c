#include "http/http1.h"

#include "base/str.h"
#include "http/http1_head.h"

#include <errno.h>
#include <time.h>

// RFC 9110, 5.6.2; letters map to lower case.
const char http1_token_chars[256] = {
	['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+',
	['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|',   ['~'] = '~', ['0'] = '0',
	['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',   ['7'] = '7', ['8'] = '8',
	['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e',   ['f'] = 'f', ['g'] = 'g',
	['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm',   ['n'] = 'n', ['o'] = 'o',
	['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u',   ['v'] = 'v', ['w'] = 'w',
	['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c',   ['D'] = 'd', ['E'] = 'e',
	['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',   ['L'] = 'l', ['M'] = 'm',
	['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's',   ['T'] = 't', ['U'] = 'u',
	['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

static bool is_token(const char *s)
{
	const char *at = s;
	while (http1_token_chars[(unsigned char)*at])
		at++;
	return at > s && !*at;
}

// A field's value: no control characters but tabs.
static bool is_value(const char *s)
{
	for (; *s; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
			return false;
	return true;
}

static bool is_target(const char *s)
{
	const char *at = s;
	while (*at > ' ' && *at < 0x7f)
		at++;
	return at > s && !*at;
}

bool http1_header_valid(const char *name, const char *value)
{
	return is_token(name) && is_value(value);
}

// Appends the n parts, all or none.
static int add_parts(struct buf *out, const char *const *parts, size_t n)
{
	size_t lens[6], total = 0;
	for (size_t i = 0; i < n; i++)
		total += lens[i] = strlen(parts[i]);
	char *to;
	int r = buf_reserve(out, total, &to);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		memcpy(to, parts[i], lens[i]);
		to += lens[i];
	}
	buf_commit(out, total);
	return 0;
}

int http1_write_request_line(struct buf *out, const char *method, const char *target)
{
	if (!is_token(method) || !is_target(target))
		return -EINVAL;
	const char *const parts[] = { method, " ", target, " HTTP/1.1\r\n" };
	return add_parts(out, parts, ARRAY_LEN(parts));
}

int http1_write_status_line(struct buf *out, unsigned status)
{
	if (status < 100 || status > 999)
		return -EINVAL;
	return buf_addf(out, "HTTP/1.1 %u %s\r\n", status, http_status_text(status));
}

int http1_write_header(struct buf *out, const char *name, const char *value)
{
	if (!http1_header_valid(name, value))
		return -EINVAL;
	const char *const parts[] = { name, ": ", value, "\r\n" };
	return add_parts(out, parts, ARRAY_LEN(parts));
}

int http1_write_header_u64(struct buf *out, const char *name, uint64_t value)
{
	char text[24];
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return http1_write_header(out, name, text);
}

int http1_write_date(struct buf *out)
{
	static _Thread_local time_t written;
	static _Thread_local char text[32];
	time_t now = time(NULL);
	if (now != written) {
		struct tm utc;
		gmtime_r(&now, &utc);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc); // RFC 9110, 5.6.7; the locale is C
		written = now;
	}
	return http1_write_header(out, "date", text);
}

int http1_write_head_end(struct buf *out)
{
	return buf_add(out, "\r\n", 2);
}

size_t http1_chunk_line(char line[HTTP1_CHUNK_LINE_SIZE], size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = 0;
	int shift = n ? (63 - __builtin_clzll(n)) & ~3 : 0;
	for (; shift >= 0; shift -= 4)
		line[len++] = digits[n >> shift & 15];
	line[len++] = '\r';
	line[len++] = '\n';
	return len;
}

int http1_write_chunk(struct buf *out, const void *bytes, size_t n)
{
	if (n == 0)
		return 0;
	char line[HTTP1_CHUNK_LINE_SIZE];
	size_t line_len = http1_chunk_line(line, n);
	char *to;
	if (n > SIZE_MAX - sizeof(line))
		return -ENOBUFS;
	int r = buf_reserve(out, line_len + n + 2, &to);
	if (r < 0)
		return r;
	memcpy(to, line, line_len);
	memcpy(to + line_len, bytes, n);
	memcpy(to + line_len + n, "\r\n", 2);
	buf_commit(out, line_len + n + 2);
	return 0;
}

int http1_write_last_chunk(struct buf *out)
{
	return buf_add(out, "0\r\n\r\n", 5);
}
