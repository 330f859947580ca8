#include "http/sse.h"

#include "base/str.h"

#include <errno.h>

struct sse_parser {
	void (*on_event)(const struct sse_event *event, void *arg);
	void *arg;
	struct buf line, data, event, id;
	size_t max_event;
	bool after_cr, started, failed, has_data;
	bool running, freed; // on_event may free the parser
};

struct sse_parser *sse_parser_new(size_t max_event, void (*on_event)(const struct sse_event *event, void *arg),
				  void *arg)
{
	struct sse_parser *p = xcalloc(1, sizeof(*p));
	*p = (struct sse_parser){
		.on_event = on_event,
		.arg = arg,
		.line = BUF_INIT(max_event + 16), // "event: " and what else stands beside the content
		.data = BUF_INIT(max_event + 1),
		.event = BUF_INIT(max_event),
		.id = BUF_INIT(max_event),
		.max_event = max_event,
	};
	return p;
}

void sse_parser_free(struct sse_parser *p)
{
	if (!p)
		return;
	if (p->running) {
		p->freed = true;
		return;
	}
	buf_clear(&p->line);
	buf_clear(&p->data);
	buf_clear(&p->event);
	buf_clear(&p->id);
	free(p);
}

static void dispatch(struct sse_parser *p)
{
	if (p->has_data) {
		size_t n = buf_len(&p->data) - 1; // the last line's '\n'
		buf_data(&p->data)[n] = '\0';
		const struct sse_event event = {
			.id = buf_str(&p->id),
			.event = buf_len(&p->event) ? buf_str(&p->event) : "message",
			.data = buf_data(&p->data),
			.data_len = n,
		};
		p->on_event(&event, p->arg);
	}
	p->has_data = false;
	buf_reset(&p->data);
	buf_reset(&p->event);
}

static int set(struct buf *b, const char *value, size_t n)
{
	buf_reset(b);
	return buf_add(b, value, n);
}

static int take_field(struct sse_parser *p, const char *name, size_t name_len, const char *value, size_t n)
{
	int r = 0;
	if (name_len == 4 && memcmp(name, "data", 4) == 0) {
		r = buf_add(&p->data, value, n);
		if (r == 0)
			r = buf_add(&p->data, "\n", 1);
		p->has_data = true;
	} else if (name_len == 5 && memcmp(name, "event", 5) == 0) {
		r = set(&p->event, value, n);
	} else if (name_len == 2 && memcmp(name, "id", 2) == 0 && !memchr(value, '\0', n)) {
		r = set(&p->id, value, n);
	}
	if (r < 0 || buf_len(&p->data) + buf_len(&p->event) > p->max_event + 1)
		return -EMSGSIZE;
	return 0;
}

static int take_line(struct sse_parser *p, const char *line, size_t n)
{
	if (!p->started && n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
		line += 3, n -= 3;
	p->started = true;
	if (n == 0) {
		dispatch(p);
		return 0;
	}
	const char *colon = memchr(line, ':', n);
	if (colon == line)
		return 0; // a comment
	size_t name_len = colon ? (size_t)(colon - line) : n;
	size_t skip = colon ? name_len + 1 : n;
	if (skip < n && line[skip] == ' ')
		skip++;
	return take_field(p, line, name_len, line + skip, n - skip);
}

static size_t find_line_end(const char *bytes, size_t n)
{
	size_t i = 0;
	while (i < n && bytes[i] != '\n' && bytes[i] != '\r')
		i++;
	return i;
}

// The bytes up to a line's end, or what there is of it. Lines that come in one piece are not copied.
static int take_piece(struct sse_parser *p, const char *bytes, size_t n, bool complete)
{
	if (complete && buf_len(&p->line) == 0)
		return n > p->line.max ? -EMSGSIZE : take_line(p, bytes, n);
	if (buf_add(&p->line, bytes, n) < 0)
		return -EMSGSIZE;
	if (!complete)
		return 0;
	int r = take_line(p, buf_data(&p->line), buf_len(&p->line));
	buf_reset(&p->line);
	return r;
}

int sse_parse(struct sse_parser *p, const char *bytes, size_t n)
{
	p->running = true;
	while (n && !p->failed && !p->freed) {
		if (p->after_cr && *bytes == '\n')
			bytes++, n--;
		p->after_cr = false;
		size_t len = find_line_end(bytes, n);
		if (n == 0)
			break;
		bool complete = len < n;
		p->failed = take_piece(p, bytes, len, complete) < 0;
		if (!complete)
			break;
		p->after_cr = bytes[len] == '\r';
		bytes += len + 1;
		n -= len + 1;
	}
	p->running = false;
	int r = p->failed ? -EMSGSIZE : 0;
	if (p->freed)
		sse_parser_free(p);
	return r;
}

// One field a line; returns bytes written, or counts them when to is NULL.
static size_t put(char *to, const char *name, const char *value, size_t n)
{
	size_t name_len = strlen(name);
	if (to) {
		memcpy(to, name, name_len);
		memcpy(to + name_len, ": ", 2);
		memcpy(to + name_len + 2, value, n);
		to[name_len + 2 + n] = '\n';
	}
	return name_len + 2 + n + 1;
}

static size_t put_data(char *to, const char *data, size_t n)
{
	size_t total = 0;
	for (;;) {
		size_t len = find_line_end(data, n);
		total += put(to ? to + total : NULL, "data", data, len);
		if (len == n)
			return total;
		len += n - len > 1 && data[len] == '\r' && data[len + 1] == '\n';
		data += len + 1;
		n -= len + 1;
	}
}

static size_t put_event(char *to, const char *event, const char *id, const char *data, size_t n)
{
	size_t total = 0;
	if (id)
		total += put(to, "id", id, strcspn(id, "\r\n"));
	if (event)
		total += put(to ? to + total : NULL, "event", event, strcspn(event, "\r\n"));
	total += put_data(to ? to + total : NULL, data, n);
	if (to)
		to[total] = '\n';
	return total + 1;
}

int sse_write(struct buf *out, const char *event, const char *id, const char *data, size_t n)
{
	size_t total = put_event(NULL, event, id, data, n);
	char *to;
	int r = buf_reserve(out, total, &to);
	if (r < 0)
		return r;
	put_event(to, event, id, data, n);
	buf_commit(out, total);
	return 0;
}
