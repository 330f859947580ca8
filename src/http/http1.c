#include "http/http1.h"

#include "base/str.h"
#include "http/http1_head.h"

#include <assert.h>
#include <strings.h>

enum state {
	STATE_REST, // nothing of the next message seen
	STATE_HEAD,
	STATE_LENGTH,
	STATE_CHUNKED,
	STATE_TRAILERS,
	STATE_UNTIL_CLOSE,
	STATE_END,  // HTTP1_END is due
	STATE_GONE, // switched to another protocol
	STATE_FAILED,
};

enum trailer_state { TRAILER_LINE, TRAILER_NAME, TRAILER_VALUE, TRAILER_LF, TRAILER_LAST_LF };

void http1_parser_init(struct http1_parser *p, bool is_response)
{
	*p = (struct http1_parser){ .is_response = is_response };
}

void http1_parser_rest(struct http1_parser *p)
{
	assert(!http1_parser_in_message(p));
	if (p->head)
		buf_clear(&p->head->bytes);
	free(p->head);
	p->head = NULL;
}

void http1_parser_clear(struct http1_parser *p)
{
	p->state = STATE_REST;
	http1_parser_rest(p);
	*p = (struct http1_parser){ 0 };
}

void http1_parser_answers(struct http1_parser *p, const char *method)
{
	assert(p->is_response && p->state == STATE_REST);
	p->to_head = strcmp(method, "HEAD") == 0;
	p->to_connect = strcmp(method, "CONNECT") == 0;
}

bool http1_parser_in_message(const struct http1_parser *p)
{
	return p->state != STATE_REST && p->state != STATE_GONE && p->state != STATE_FAILED;
}

bool http1_fail(struct http1_parser *p, unsigned status, const char *reason)
{
	p->state = STATE_FAILED;
	p->status = p->is_response ? 502 : status;
	p->reason = reason;
	return false;
}

static void begin_head(struct http1_parser *p)
{
	if (!p->head) {
		p->head = xmalloc(sizeof(*p->head));
		*p->head = (struct http1_head){ .bytes = BUF_INIT(HTTP1_HEAD_MAX + HTTP1_TARGET_MAX + 8) };
		char *room;
		buf_reserve(&p->head->bytes, 4000, &room);
	}
	buf_reset(&p->head->bytes);
	p->head->name_end = p->head->value_end = NULL;
	p->line = 0;
	p->skipped_line = false;
	p->state = STATE_HEAD;
}

// A line that has come to its '\n'. False: failed.
static bool check_line(struct http1_parser *p, const char *line, size_t n)
{
	if (n < 2 || line[n - 2] != '\r')
		return http1_fail(p, 400, "a line that ends in a bare LF");
	if (memchr(line, '\r', n - 2))
		return http1_fail(p, 400, "a bare CR");
	if (memchr(line, '\0', n))
		return http1_fail(p, 400, "a NUL byte");
	if (line[0] == ' ' || line[0] == '\t')
		return http1_fail(p, 400, "a folded line, or one that begins with white space");
	return true;
}

static bool check_size(struct http1_parser *p)
{
	size_t n = buf_len(&p->head->bytes);
	if (p->line == 0 && n > HTTP1_TARGET_MAX + 64 && !p->is_response)
		return http1_fail(p, 414, "the request line is longer than 8 KiB");
	if (n > HTTP1_HEAD_MAX)
		return http1_fail(p, 431, "the head is longer than 64 KiB");
	return true;
}

// RFC 9112, 2.2: one empty line before a request is ignored.
static bool skip_empty_line(struct http1_parser *p)
{
	if (p->is_response || p->skipped_line)
		return http1_fail(p, 400, "an empty line where a message should begin");
	p->skipped_line = true;
	buf_reset(&p->head->bytes);
	return true;
}

// What follows the head: the state for it, given what the head said.
static void enter_body(struct http1_parser *p)
{
	static const enum state states[] = {
		[HTTP1_NO_BODY] = STATE_END,
		[HTTP1_LENGTH] = STATE_LENGTH,
		[HTTP1_CHUNKED] = STATE_CHUNKED,
		[HTTP1_UNTIL_CLOSE] = STATE_UNTIL_CLOSE,
	};
	p->state = states[p->framing];
	p->left = p->content_length;
	if (p->is_response && p->interim)
		p->state = STATE_REST;
}

static enum http1_event parse_head(struct http1_parser *p, const char *bytes, size_t n, size_t *used)
{
	struct buf *head = &p->head->bytes;
	while (*used < n) {
		const char *from = bytes + *used;
		const char *lf = memchr(from, '\n', n - *used);
		size_t piece = lf ? (size_t)(lf - from) + 1 : n - *used;
		size_t room = HTTP1_HEAD_MAX + 1 - buf_len(head);
		if (piece > room)
			piece = room, lf = NULL;
		buf_add(head, from, piece);
		*used += piece;
		if (!check_size(p))
			return HTTP1_ERROR;
		if (!lf)
			continue;

		size_t line_len = buf_len(head) - p->line;
		if (!check_line(p, buf_data(head) + p->line, line_len))
			return HTTP1_ERROR;
		if (line_len == 2 && p->line == 0) {
			if (!skip_empty_line(p))
				return HTTP1_ERROR;
			continue;
		}
		p->line = buf_len(head);
		if (line_len > 2)
			continue;
		if (!http1_head_parse(p))
			return HTTP1_ERROR;
		enter_body(p);
		return HTTP1_HEAD;
	}
	return HTTP1_NEED;
}

static enum http1_event parse_length(struct http1_parser *p, const char *bytes, size_t n, size_t *used)
{
	if (n == 0)
		return HTTP1_NEED;
	p->body = bytes;
	p->body_len = n < p->left ? n : (size_t)p->left;
	p->left -= p->body_len;
	*used = p->body_len;
	if (p->left == 0)
		p->state = STATE_END;
	return HTTP1_BODY;
}

static enum http1_event parse_until_close(struct http1_parser *p, const char *bytes, size_t n, size_t *used)
{
	if (n == 0)
		return HTTP1_NEED;
	p->body = bytes;
	p->body_len = *used = n;
	return HTTP1_BODY;
}

// One byte of the trailer section; false: failed. Its end shows as STATE_END.
static bool step_trailers(struct http1_parser *p, char c)
{
	bool token = http1_token_chars[(unsigned char)c] != 0;
	bool ok = false;
	switch ((enum trailer_state)p->trailer_state) {
	case TRAILER_LINE:
		ok = c == '\r' || token;
		p->trailer_state = token ? TRAILER_NAME : TRAILER_LAST_LF;
		break;
	case TRAILER_NAME:
		ok = c == ':' || token;
		p->trailer_state = token ? TRAILER_NAME : TRAILER_VALUE;
		break;
	case TRAILER_VALUE:
		ok = c == '\r' || c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f);
		p->trailer_state = c == '\r' ? TRAILER_LF : TRAILER_VALUE;
		break;
	case TRAILER_LF:
		ok = c == '\n';
		p->trailer_state = TRAILER_LINE;
		break;
	case TRAILER_LAST_LF:
		ok = c == '\n';
		p->state = STATE_END;
		break;
	}
	if (!ok)
		return http1_fail(p, 400, "the trailers are malformed");
	if (++p->trailer > HTTP1_HEAD_MAX)
		return http1_fail(p, 431, "the trailers are longer than 64 KiB");
	return true;
}

static enum http1_event parse_trailers(struct http1_parser *p, const char *bytes, size_t n, size_t *used)
{
	while (p->state == STATE_TRAILERS && *used < n)
		if (!step_trailers(p, bytes[(*used)++]))
			return HTTP1_ERROR;
	if (p->state == STATE_TRAILERS)
		return HTTP1_NEED;
	p->state = STATE_REST;
	return HTTP1_END;
}

static enum http1_event parse_chunked(struct http1_parser *p, const char *bytes, size_t n, size_t *used)
{
	llhttp_t *llhttp = &p->head->llhttp;
	if (n == 0)
		return HTTP1_NEED;
	p->body_len = 0;
	llhttp_resume(llhttp);
	llhttp_errno_t r = llhttp_execute(llhttp, bytes, n);
	if (r != HPE_OK && r != HPE_PAUSED) {
		if (p->state != STATE_FAILED)
			http1_fail(p, 400, llhttp->reason ? llhttp->reason : "the chunked body is malformed");
		return HTTP1_ERROR;
	}
	*used = r == HPE_PAUSED ? (size_t)(llhttp_get_error_pos(llhttp) - bytes) : n;
	if (p->head->zero_chunk) {
		// From here on by hand: llhttp would take bare LFs in trailers.
		p->head->zero_chunk = false;
		p->state = STATE_TRAILERS;
		p->trailer_state = TRAILER_LINE;
		p->trailer = 0;
		return parse_trailers(p, bytes, n, used);
	}
	return p->body_len ? HTTP1_BODY : HTTP1_NEED;
}

enum http1_event http1_parse(struct http1_parser *p, const char *bytes, size_t n, size_t *ret_used)
{
	*ret_used = 0;
	switch ((enum state)p->state) {
	case STATE_REST:
		if (n == 0)
			return HTTP1_NEED;
		begin_head(p);
		return parse_head(p, bytes, n, ret_used);
	case STATE_HEAD:
		return parse_head(p, bytes, n, ret_used);
	case STATE_LENGTH:
		return parse_length(p, bytes, n, ret_used);
	case STATE_CHUNKED:
		return parse_chunked(p, bytes, n, ret_used);
	case STATE_TRAILERS:
		return parse_trailers(p, bytes, n, ret_used);
	case STATE_UNTIL_CLOSE:
		return parse_until_close(p, bytes, n, ret_used);
	case STATE_END:
		p->state = p->is_response && p->upgrade ? STATE_GONE : STATE_REST;
		return HTTP1_END;
	case STATE_GONE:
		http1_fail(p, 400, "the connection has switched to another protocol");
		return HTTP1_ERROR;
	case STATE_FAILED:
		return HTTP1_ERROR;
	}
	assert(!"a state of the parser");
	return HTTP1_ERROR;
}

enum http1_event http1_parse_close(struct http1_parser *p)
{
	switch ((enum state)p->state) {
	case STATE_UNTIL_CLOSE:
	case STATE_END:
		p->state = STATE_REST;
		return HTTP1_END;
	case STATE_REST:
	case STATE_GONE:
		return HTTP1_NEED;
	default:
		if (p->state != STATE_FAILED)
			http1_fail(p, 400, "the connection was closed in the middle of a message");
		return HTTP1_ERROR;
	}
}
