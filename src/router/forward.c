#include "router/forward.h"

#include "base/str.h"

#include <strings.h>

// Whether name is known, or passes for it: programs behind CGI and WSGI take '_' in a name for '-', and so would let a
// client say in X_Forwarded_For what it may not say in X-Forwarded-For.
static bool passes_for(const char *name, const char *known, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (name[i] != known[i] && !(name[i] == '_' && known[i] == '-'))
			return false;
	return true;
}

static bool is_field(const char *name, const char *known)
{
	return passes_for(name, known, strlen(known) + 1);
}

// Fields that end at each hop, whether or not Connection names them.
static bool is_hop_by_hop(const char *name)
{
	static const char *const names[] = {
		"connection",        "keep-alive", "proxy-connection", "te",
		"transfer-encoding", "upgrade",    "trailer",          "proxy-authenticate"
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (is_field(name, names[i]))
			return true;
	return false;
}

// Fields about the way a request came: ours replace whatever the client claims.
static bool is_provenance(const char *name)
{
	static const char prefix[] = "x-forwarded-";
	return is_field(name, "forwarded") || is_field(name, "x-real-ip") || passes_for(name, prefix, strlen(prefix));
}

static bool is_protected(const char *token, size_t n)
{
	static const char *const names[] = { "host",      "content-length",  "authorization",     "cookie",
					     "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
					     "x-real-ip" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i]) == n && strncasecmp(token, names[i], n) == 0)
			return true;
	return false;
}

static bool next_token(const char **at, const char **ret, size_t *ret_n)
{
	*at += strspn(*at, " \t,");
	if (!**at)
		return false;
	*ret = *at;
	*ret_n = strcspn(*at, " \t,");
	*at += *ret_n;
	return true;
}

static bool connection_is_honest(const struct http_headers *headers)
{
	for (size_t i = 0; i < headers->n; i++) {
		if (!str_eq(headers->items[i].name, "connection"))
			continue;
		const char *at = headers->items[i].value, *token;
		size_t n;
		while (next_token(&at, &token, &n))
			if (is_protected(token, n))
				return false;
	}
	return true;
}

static bool is_dropped(const struct http_headers *headers, const char *name, bool names_more)
{
	if (is_hop_by_hop(name))
		return true;
	return names_more && http_header_has_token(headers, "connection", name);
}

// Whether Connection says more than the usual.
static bool connection_names_more(const struct http_headers *headers)
{
	for (size_t i = 0; i < headers->n; i++) {
		const char *value = headers->items[i].value;
		if (str_eq(headers->items[i].name, "connection") && strcasecmp(value, "keep-alive") != 0 &&
		    strcasecmp(value, "close") != 0)
			return true;
	}
	return false;
}

static void add_provenance(struct buf *out, const struct http_request *request, const char *peer_ip)
{
	bool v6 = strchr(peer_ip, ':') != NULL;
	http1_write_header(out, "x-forwarded-for", peer_ip);
	http1_write_header(out, "x-forwarded-proto", "http");
	http1_write_header(out, "x-forwarded-host", request->host);
	char text[512];
	snprintf(text, sizeof(text), "for=%s%s%s;host=\"%.300s\";proto=http", v6 ? "\"[" : "", peer_ip, v6 ? "]\"" : "",
		 request->host);
	http1_write_header(out, "forwarded", text);
}

const char *forward_upgrade(const struct http1_parser *p)
{
	const struct http_headers *headers = &p->request.headers;
	if (!p->upgrade || http_header_has_token(headers, "upgrade", "h2c"))
		return NULL;
	return http_header_get(headers, "upgrade");
}

// The target as an instance expects it: an absolute one (RFC 9112, 3.2.2) loses scheme and host.
static int write_request_line(struct buf *out, const struct http_request *request)
{
	const char *target = request->target;
	if (*target == '/' || *target == '*')
		return http1_write_request_line(out, request->method, target);
	target = strstr(target, "://") + 3;
	target += strcspn(target, "/?");
	if (!*target) // RFC 9112, 3.2.4
		target = str_eq(request->method, "OPTIONS") ? "*" : "/";
	AUTO_FREE char *path = xasprintf("%s%s", *target == '?' ? "/" : "", target);
	return http1_write_request_line(out, request->method, path);
}

// RFC 9110, 7.6.3: a field of the whole chain, ours at its end.
static void add_via(struct buf *out, const struct http_request *request)
{
	http1_write_header(out, "via", request->minor ? "1.1 dialtone" : "1.0 dialtone");
}

bool forward_request(struct buf *out, const struct http1_parser *p, const char *peer_ip)
{
	const struct http_request *request = &p->request;
	const struct http_headers *headers = &request->headers;
	bool names_more = connection_names_more(headers);
	if (names_more && !connection_is_honest(headers))
		return false;

	if (write_request_line(out, request) < 0)
		return false;
	http1_write_header(out, "host", request->host);
	for (size_t i = 0; i < headers->n; i++) {
		const struct http_header *h = &headers->items[i];
		if (is_field(h->name, "host") || is_field(h->name, "content-length") || is_provenance(h->name) ||
		    is_dropped(headers, h->name, names_more))
			continue;
		http1_write_header(out, h->name, h->value);
	}
	if (p->framing == HTTP1_CHUNKED)
		http1_write_header(out, "transfer-encoding", "chunked");
	else if (p->content_length != UINT64_MAX)
		http1_write_header_u64(out, "content-length", p->content_length);
	const char *upgrade = forward_upgrade(p);
	if (upgrade) {
		http1_write_header(out, "connection", "upgrade");
		http1_write_header(out, "upgrade", upgrade);
	}
	add_via(out, request);
	add_provenance(out, request, peer_ip);
	http1_write_head_end(out);
	return true;
}

// X-Dialtone-Error says that an answer is ours: nobody else's may have it.
static void copy_response_fields(struct buf *out, const struct http1_parser *p)
{
	const struct http_headers *headers = &p->response.headers;
	bool names_more = connection_names_more(headers);
	for (size_t i = 0; i < headers->n; i++) {
		const struct http_header *h = &headers->items[i];
		if (str_eq(h->name, "content-length") || str_eq(h->name, "x-dialtone-error") ||
		    is_dropped(headers, h->name, names_more))
			continue;
		http1_write_header(out, h->name, h->value);
	}
}

void forward_response(struct buf *out, const struct http1_parser *p, unsigned to_minor, bool is_head, bool close,
		      enum body_form *ret_form)
{
	http1_write_status_line(out, p->response.status);
	copy_response_fields(out, p);
	if (!http_header_get(&p->response.headers, "date")) // RFC 9110, 6.6.1
		http1_write_date(out);
	*ret_form = BODY_NONE;
	bool has_length = p->content_length != UINT64_MAX && p->response.status != 204;
	if (p->upgrade) {
		const char *upgrade = http_header_get(&p->response.headers, "upgrade");
		http1_write_header(out, "connection", "upgrade");
		if (upgrade)
			http1_write_header(out, "upgrade", upgrade);
	} else if (p->framing == HTTP1_LENGTH || has_length) {
		http1_write_header_u64(out, "content-length", p->content_length);
		*ret_form = p->framing == HTTP1_LENGTH ? BODY_AS_IS : BODY_NONE;
	} else if (p->framing != HTTP1_NO_BODY) {
		*ret_form = to_minor == 0 ? BODY_UNTIL_CLOSE : BODY_CHUNKED;
		if (to_minor)
			http1_write_header(out, "transfer-encoding", "chunked");
	} else if (is_head && http_header_has_token(&p->response.headers, "transfer-encoding", "chunked") && to_minor) {
		http1_write_header(out, "transfer-encoding", "chunked");
	}
	if (!p->upgrade && (close || *ret_form == BODY_UNTIL_CLOSE))
		http1_write_header(out, "connection", "close");
	else if (!p->upgrade && to_minor == 0)
		http1_write_header(out, "connection", "keep-alive");
	http1_write_head_end(out);
}

void forward_interim(struct buf *out, const struct http1_parser *p)
{
	http1_write_status_line(out, p->response.status);
	copy_response_fields(out, p);
	http1_write_head_end(out);
}
