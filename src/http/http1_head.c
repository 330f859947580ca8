#include "http/http1_head.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static void cut(struct http1_head *head)
{
	if (head->name_end)
		*head->name_end = '\0';
	if (head->value_end)
		*head->value_end = '\0';
	head->name_end = head->value_end = NULL;
}

// llhttp runs over the whole head at once, so that each name and value comes in one piece.
static int take_name(llhttp_t *llhttp, const char *at, size_t n)
{
	struct http1_parser *p = llhttp->data;
	struct http1_head *head = p->head;
	cut(head);
	if (head->n == HTTP1_HEADERS_MAX) {
		http1_fail(p, 431, "more than 100 header fields");
		return -1;
	}
	char *name = (char *)at; // inside head->bytes
	for (size_t i = 0; i < n; i++) {
		char lower = http1_token_chars[(unsigned char)name[i]];
		if (!lower)
			n = 0;
		else
			name[i] = lower;
	}
	if (n == 0) {
		http1_fail(p, 400, "a header field's name is not a token");
		return -1;
	}
	head->name_end = name + n;
	head->items[head->n++] = (struct http_header){ .name = name, .value = "" };
	return 0;
}

static int take_value(llhttp_t *llhttp, const char *at, size_t n)
{
	struct http1_parser *p = llhttp->data;
	if (n == 0) // then at is somewhere behind the line
		return 0;
	while (n && (at[n - 1] == ' ' || at[n - 1] == '\t'))
		n--;
	p->head->items[p->head->n - 1].value = at;
	p->head->value_end = (char *)at + n;
	return 0;
}

static int pause_after_head(llhttp_t *llhttp)
{
	struct http1_parser *p = llhttp->data;
	cut(p->head);
	return HPE_PAUSED;
}

static int take_chunk_line(llhttp_t *llhttp)
{
	struct http1_parser *p = llhttp->data;
	p->head->zero_chunk = llhttp->content_length == 0;
	return p->head->zero_chunk ? HPE_PAUSED : 0;
}

static int refuse_extension(llhttp_t *llhttp, UNUSED const char *at, UNUSED size_t n)
{
	http1_fail(llhttp->data, 400, "chunk extensions are refused");
	return -1;
}

static int take_body(llhttp_t *llhttp, const char *at, size_t n)
{
	struct http1_parser *p = llhttp->data;
	p->body = at;
	p->body_len = n;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_header_field = take_name,
	.on_header_value = take_value,
	.on_headers_complete = pause_after_head,
	.on_chunk_header = take_chunk_line,
	.on_chunk_extension_name = refuse_extension,
	.on_body = take_body,
};

struct facts {
	const char *host, *length, *coding, *expect;
	unsigned hosts, lengths, codings;
	bool upgrade, close, keep_alive, connection_upgrade;
};

static bool is(const char *name, const char *known)
{
	return strcmp(name, known) == 0;
}

static void gather(const struct http_header *h, struct facts *facts)
{
	switch (h->name[0]) {
	case 'h':
		if (is(h->name, "host"))
			facts->host = h->value, facts->hosts++;
		return;
	case 't':
		if (is(h->name, "transfer-encoding"))
			facts->coding = h->value, facts->codings++;
		return;
	case 'e':
		if (is(h->name, "expect"))
			facts->expect = h->value;
		return;
	case 'u':
		facts->upgrade |= is(h->name, "upgrade");
		return;
	case 'c':
		if (is(h->name, "content-length")) {
			facts->length = h->value, facts->lengths++;
		} else if (is(h->name, "connection")) {
			facts->close |= http1_list_has(h->value, "close");
			facts->keep_alive |= http1_list_has(h->value, "keep-alive");
			facts->connection_upgrade |= http1_list_has(h->value, "upgrade");
		}
		return;
	}
}

// RFC 9112, 6.1 and 6.3, with every doubtful case refused.
static bool judge_framing(struct http1_parser *p, const struct facts *facts, unsigned minor)
{
	p->framing = HTTP1_NO_BODY;
	p->content_length = UINT64_MAX;
	if (facts->codings && facts->lengths)
		return http1_fail(p, 400, "both Content-Length and Transfer-Encoding");
	if (facts->codings) {
		if (minor == 0)
			return http1_fail(p, 400, "Transfer-Encoding in HTTP/1.0");
		if (facts->codings > 1)
			return http1_fail(p, 400, "more than one Transfer-Encoding field");
		if (strcasecmp(facts->coding, "chunked") != 0)
			return http1_fail(p, 501, "a Transfer-Encoding other than chunked");
		p->framing = HTTP1_CHUNKED;
	}
	if (facts->lengths) {
		size_t digits = strspn(facts->length, "0123456789");
		if (facts->lengths > 1)
			return http1_fail(p, 400, "more than one Content-Length field");
		if (digits == 0 || facts->length[digits] || digits > 18)
			return http1_fail(p, 400, "Content-Length is not a number in range");
		p->content_length = 0;
		for (const char *c = facts->length; *c; c++)
			p->content_length = p->content_length * 10 + (uint64_t)(*c - '0');
		if (p->content_length)
			p->framing = HTTP1_LENGTH;
	}
	return true;
}

static bool all_in(const char *text, size_t n, const char *punctuation)
{
	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!alnum && (!c || !strchr(punctuation, c)))
			return false;
	}
	return true;
}

// RFC 9110, 7.2: uri-host [ ":" port ], host not empty (4.2.1).
static bool host_valid(const char *host, size_t n)
{
	size_t end;
	if (n && host[0] == '[') {
		const char *bracket = memchr(host, ']', n);
		if (!bracket || bracket == host + 1)
			return false;
		end = (size_t)(bracket - host) + 1;
		if (!all_in(host + 1, end - 2, ":."))
			return false;
	} else {
		const char *colon = memchr(host, ':', n);
		end = colon ? (size_t)(colon - host) : n;
		if (end == 0 || !all_in(host, end, "-._~%!$&'()*+,;="))
			return false;
	}
	if (end == n)
		return true;
	if (host[end] != ':' || n - end > 6)
		return false;
	for (size_t i = end + 1; i < n; i++)
		if (host[i] < '0' || host[i] > '9')
			return false;
	return true;
}

// Appends a string to the tail that http1_head_parse made room for.
static const char *tail_copy(char **tail, const char *text, size_t n)
{
	char *copy = *tail;
	memcpy(copy, text, n);
	copy[n] = '\0';
	*tail += n + 1;
	return copy;
}

static void split_path(struct http_request *r, const char *from, char **tail)
{
	size_t n = strcspn(from, "?");
	r->query = from[n] ? from + n + 1 : "";
	r->path = from;
	if (from[0] != '/' && from[0] != '*')
		r->path = tail_copy(tail, "/", 1); // "http://host?query"
	else if (from[n])
		r->path = tail_copy(tail, from, n);
}

static bool judge_absolute(struct http1_parser *p, const struct facts *facts, char **tail)
{
	struct http_request *r = &p->request;
	const char *authority = strstr(r->target, "://") + 3;
	size_t n = strcspn(authority, "/?");
	if (!host_valid(authority, n))
		return http1_fail(p, 400, "the request target's host is malformed");
	if (facts->host && (strncasecmp(facts->host, authority, n) != 0 || facts->host[n]))
		return http1_fail(p, 400, "Host differs from the request target's host");
	r->host = tail_copy(tail, authority, n);
	split_path(r, authority + n, tail);
	return true;
}

// RFC 9112, 3.2: the four forms of a request target, and the Host field that goes with them.
static bool judge_target(struct http1_parser *p, const struct facts *facts, char *tail)
{
	struct http_request *r = &p->request;
	bool connect = is(r->method, "CONNECT");
	if (facts->hosts > 1)
		return http1_fail(p, 400, "more than one Host field");
	if (r->minor == 1 && facts->hosts == 0)
		return http1_fail(p, 400, "no Host field");
	if (facts->host && !host_valid(facts->host, strlen(facts->host)))
		return http1_fail(p, 400, "the Host field is malformed");
	if (strchr(r->target, '#'))
		return http1_fail(p, 400, "a fragment in the request target");

	r->host = facts->host ? facts->host : "";
	if (connect) {
		if (!host_valid(r->target, strlen(r->target)) || !strchr(r->target, ':'))
			return http1_fail(p, 400, "CONNECT needs host:port as its target");
		r->host = r->target;
		r->path = r->query = "";
		return true;
	}
	if (strncasecmp(r->target, "http://", 7) == 0 || strncasecmp(r->target, "https://", 8) == 0)
		return judge_absolute(p, facts, &tail);
	if (r->target[0] != '/' && !(is(r->target, "*") && is(r->method, "OPTIONS")))
		return http1_fail(p, 400, "the request target is neither a path nor a URL");
	split_path(r, r->target, &tail);
	return true;
}

static bool judge_request(struct http1_parser *p, const struct facts *facts, char *tail)
{
	struct http_request *r = &p->request;
	bool connect = is(r->method, "CONNECT");
	if (!judge_target(p, facts, tail) || !judge_framing(p, facts, r->minor))
		return false;
	if (connect && (p->framing != HTTP1_NO_BODY))
		return http1_fail(p, 400, "CONNECT with a body");
	p->expect_continue = false;
	if (facts->expect && r->minor == 1) {
		if (strcasecmp(facts->expect, "100-continue") != 0)
			return http1_fail(p, 417, "an expectation other than 100-continue");
		p->expect_continue = p->framing != HTTP1_NO_BODY;
	}
	p->upgrade = connect || (r->minor == 1 && facts->upgrade && facts->connection_upgrade);
	p->keep_alive = !facts->close && (r->minor == 1 || facts->keep_alive);
	return true;
}

static bool judge_response(struct http1_parser *p, const struct facts *facts)
{
	struct http_response *r = &p->response;
	if (!judge_framing(p, facts, r->minor))
		return false;
	bool no_body_at_all = r->status < 200 || r->status == 204;
	if (no_body_at_all && p->framing != HTTP1_NO_BODY)
		return http1_fail(p, 502, "a body in a 1xx or 204 response");
	bool tunnel = p->to_connect && r->status / 100 == 2;
	if (no_body_at_all || r->status == 304 || p->to_head || tunnel)
		p->framing = HTTP1_NO_BODY;
	else if (!facts->codings && !facts->lengths)
		p->framing = HTTP1_UNTIL_CLOSE;
	p->interim = r->status < 200 && r->status != 101;
	p->upgrade = r->status == 101 || tunnel;
	p->keep_alive =
		!facts->close && (r->minor == 1 || facts->keep_alive) && p->framing != HTTP1_UNTIL_CLOSE && !p->upgrade;
	return true;
}

// "METHOD SP target SP HTTP/1.x", without the line's end. Finds the parts; cutting comes after llhttp.
static bool find_request_line(struct http1_parser *p, const char *line, size_t n, char **method_end, char **target_end)
{
	const char *first = memchr(line, ' ', n);
	const char *last = memrchr(line, ' ', n);
	if (!first || first == last || first == line || memchr(first + 1, ' ', (size_t)(last - first) - 1))
		return http1_fail(p, 400, "the request line is malformed");
	const char *version = last + 1;
	size_t version_len = n - (size_t)(version - line);
	if (version_len != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.')
		return http1_fail(p, 400, "the request line is malformed");
	if (version[5] != '1' || (version[7] != '0' && version[7] != '1'))
		return http1_fail(p, 505, "an HTTP version other than 1.0 and 1.1");
	if ((size_t)(last - first) - 1 > HTTP1_TARGET_MAX)
		return http1_fail(p, 414, "the request target is longer than 8 KiB");
	p->request.minor = version[7] == '1';
	p->request.method = line;
	p->request.target = first + 1;
	*method_end = (char *)first;
	*target_end = (char *)last;
	return true;
}

// "HTTP/1.x SP 3DIGIT [SP reason]"
static bool find_status_line(struct http1_parser *p, const char *line, size_t n)
{
	if (n < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') || line[8] != ' ' ||
	    (n > 12 && line[12] != ' '))
		return http1_fail(p, 502, "the status line is malformed");
	p->response.status = 0;
	for (int i = 9; i < 12; i++) {
		if (line[i] < '0' || line[i] > '9')
			return http1_fail(p, 502, "the status line is malformed");
		p->response.status = p->response.status * 10 + (unsigned)(line[i] - '0');
	}
	if (p->response.status < 100)
		return http1_fail(p, 502, "the status line is malformed");
	p->response.minor = line[7] == '1';
	return true;
}

static bool run_llhttp(struct http1_parser *p)
{
	struct http1_head *head = p->head;
	llhttp_t *llhttp = &head->llhttp;
	head->n = 0;
	llhttp_init(llhttp, p->is_response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
	llhttp->data = p;
	llhttp_errno_t r = llhttp_execute(llhttp, buf_data(&head->bytes), buf_len(&head->bytes));
	if (p->reason)
		return false;
	if (r == HPE_INVALID_METHOD)
		return http1_fail(p, 501, "an unknown method");
	if (r != HPE_PAUSED)
		return http1_fail(p, 400, llhttp->reason ? llhttp->reason : "the head is malformed");
	assert(llhttp_get_error_pos(llhttp) == buf_data(&head->bytes) + buf_len(&head->bytes));
	return true;
}

bool http1_head_parse(struct http1_parser *p)
{
	struct http1_head *head = p->head;
	// Room for copies of host and path behind the head, before any pointer into it is taken.
	char *tail;
	int r = buf_reserve(&head->bytes, HTTP1_TARGET_MAX + 8, &tail);
	assert(r == 0);
	char *line = buf_data(&head->bytes), *method_end = NULL, *target_end = NULL;
	size_t line_len = (size_t)((char *)memchr(line, '\r', buf_len(&head->bytes)) - line);
	if (p->is_response ? !find_status_line(p, line, line_len)
			   : !find_request_line(p, line, line_len, &method_end, &target_end))
		return false;
	if (!run_llhttp(p))
		return false;

	struct facts facts = { 0 };
	struct http_headers headers = { .items = head->items, .n = head->n };
	for (size_t i = 0; i < headers.n; i++)
		gather(&headers.items[i], &facts);
	if (p->is_response) {
		p->response.headers = headers;
		return judge_response(p, &facts);
	}
	*method_end = *target_end = '\0';
	p->request.headers = headers;
	return judge_request(p, &facts, tail);
}
