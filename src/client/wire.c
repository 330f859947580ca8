#include "client/wire.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>

void client_answer_clear(struct client_answer *answer)
{
	json_decref(answer->json);
	free(answer->etag);
	*answer = (struct client_answer){ 0 };
}

static const struct status_errno {
	unsigned status;
	int code;
} status_errnos[] = {
	{ 400, -EINVAL }, { 401, -EACCES }, { 403, -EACCES }, { 404, -ENOENT }, { 409, -EEXIST },   { 410, -ESTALE },
	{ 412, -ESTALE }, { 413, -EFBIG },  { 422, -EINVAL }, { 429, -EAGAIN }, { 503, -EAGAIN }, { 504, -ETIMEDOUT },
};

int client_status_errno(unsigned status)
{
	for (size_t i = 0; i < ARRAY_LEN(status_errnos); i++) {
		if (status_errnos[i].status == status)
			return status_errnos[i].code;
	}
	return -EIO;
}

static int parse_http(struct client_wire *wire, const char *rest, struct err *err)
{
	AUTO_FREE char *host = xstrndup(rest, strcspn(rest, "/?#"));
	const char *tail = rest + strlen(host);
	if (*tail && !str_eq(tail, "/"))
		return err_set(err, -EINVAL, "address '%s' has a path", wire->text);
	AUTO_FREE char *numeric = NULL;
	if (str_starts(host, "localhost:"))
		numeric = xasprintf("127.0.0.1%s", host + strlen("localhost"));
	else
		numeric = xstrdup(host);
	int r = address_parse(numeric, &wire->address, err);
	if (r < 0)
		return err_wrap(err, "address '%s'", wire->text);
	wire->host = TAKE_PTR(host);
	return 0;
}

static bool is_loopback(const struct address *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->sa;
	if (a->sa.ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return a->sa.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

// The token would travel for all to read.
static int parse_plain(struct client_wire *wire, const char *rest, struct err *err)
{
	int r = parse_http(wire, rest, err);
	if (r < 0 || is_loopback(&wire->address))
		return r;
	err_set(err, -EINVAL, "address '%s' is plain HTTP to another machine", wire->text);
	return err_hint(err, "write https://%s", rest);
}

static int parse_address(struct client_wire *wire, struct err *err)
{
	if (str_starts(wire->text, "unix:")) {
		wire->host = xstrdup("localhost");
		return address_parse(wire->text, &wire->address, err);
	}
	if (str_starts(wire->text, "http://"))
		return parse_plain(wire, wire->text + strlen("http://"), err);
	if (str_starts(wire->text, "https://")) {
		wire->secure = true;
		return parse_http(wire, wire->text + strlen("https://"), err);
	}
	err_set(err, -EINVAL, "'%s' is not an address of a platform", wire->text);
	return err_hint(err, "write https://ADDR:PORT, http://127.0.0.1:PORT for one on this machine, or unix:PATH");
}

int client_wire_init(struct client_wire *wire, const char *address, const char *token, struct err *err)
{
	*wire = (struct client_wire){ .text = xstrdup(address) };
	int r = parse_address(wire, err);
	if (r < 0) {
		client_wire_clear(wire);
		return r;
	}
	if (token)
		wire->authorization = xasprintf("Bearer %s", token);
	return 0;
}

void client_wire_clear(struct client_wire *wire)
{
	free(wire->text);
	free(wire->host);
	free(wire->authorization);
	*wire = (struct client_wire){ 0 };
}

void client_headers_add(struct client_headers *headers, const char *name, const char *value)
{
	if (!value)
		return;
	assert(headers->n < CLIENT_HEADERS_MAX);
	headers->items[headers->n++] = (struct http_header){ .name = name, .value = value };
}

void client_wire_note(struct client_wire *wire, const struct http_response *response)
{
	const char *text = http_header_get(&response->headers, "dialtone-revision");
	const char *colon = text ? strrchr(text, ':') : NULL;
	struct client_seen said = { 0 };
	if (!colon || (size_t)(colon - text) >= sizeof(said.epoch) ||
	    parse_u64(colon + 1, INT64_MAX, &said.revision) < 0)
		return;
	memcpy(said.epoch, text, (size_t)(colon - text));
	if (!str_eq(said.epoch, wire->seen.epoch) || said.revision > wire->seen.revision)
		wire->seen = said;
}

void client_headers_revise(struct client_headers *headers, const struct client_wire *wire)
{
	for (size_t i = 0; i < headers->n; i++) // of a former address
		if (str_eq(headers->items[i].name, "Authorization"))
			headers->items[i].value = wire->authorization;
	if (!wire->seen.revision || headers->seen[0])
		return;
	snprintf(headers->seen, sizeof(headers->seen), "%s:%llu", wire->seen.epoch,
		 (unsigned long long)wire->seen.revision);
	client_headers_add(headers, "Dialtone-Revision", headers->seen);
}

void client_headers_init(struct client_headers *headers, const struct client_wire *wire, const char *accept)
{
	headers->n = 0;
	headers->seen[0] = '\0';
	client_headers_add(headers, "Authorization", wire->authorization);
	client_headers_add(headers, "Accept", accept);
	client_headers_add(headers, "User-Agent", "dialtone/" DIALTONE_VERSION);
}

void client_collect_clear(struct client_collect *collect)
{
	free(collect->etag);
	buf_clear(&collect->body);
	*collect = CLIENT_COLLECT_INIT;
}

void client_collect_head(struct client_collect *collect, const struct http_response *response)
{
	collect->status = response->status;
	const char *type = http_header_get(&response->headers, "content-type");
	collect->is_json = type && (str_starts(type, "application/json") || str_starts(type, "application/problem+json"));
	const char *etag = http_header_get(&response->headers, "etag");
	free(collect->etag);
	collect->etag = etag ? xstrdup(etag) : NULL;
}

void client_collect_data(struct client_collect *collect, const char *bytes, size_t n)
{
	if (buf_add(&collect->body, bytes, n) < 0)
		collect->too_big = true;
}

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return str_empty(text) ? NULL : text;
}

// A field of a request's body is told as a person writes it: without the 'spec.' above the manifest's keys.
static const char *as_written(const json_t *json, const char *detail)
{
	static const char above[] = "spec.";
	const char *field = member(json, "field");
	bool is_it = detail && field && str_starts(field, above) && str_starts(detail, field);
	return is_it ? detail + strlen(above) : detail;
}

static int problem(unsigned status, const json_t *json, struct err *err)
{
	const char *title = member(json, "title"), *detail = member(json, "detail"), *hint = member(json, "hint");
	int code = client_status_errno(status);
	// The title is the status in words; a person is told the cause.
	if (title || detail)
		err_set(err, code, "%s", detail ? as_written(json, detail) : title);
	else
		err_set(err, code, "the platform answered %u %s", status, http_status_text(status));
	if (hint)
		err_hint(err, "%s", hint);
	return code;
}

static int unreachable(const struct client_wire *wire, const struct err *lost, struct err *err)
{
	if (err)
		*err = *lost;
	if (lost->code == -ECONNREFUSED || lost->code == -ENOENT) {
		err_set(err, lost->code, "no platform listens at %s", wire->text);
		err_hint(err, "start it with 'dialtone up', or name another one with --api or DIALTONE_API");
		return lost->code;
	}
	err_wrap(err, "platform at %s", wire->text);
	return lost->code;
}

int client_collect_finish(struct client_collect *collect, const struct client_wire *wire, const struct err *lost,
			  struct client_answer *answer, struct err *err)
{
	answer->status = collect->status;
	answer->etag = TAKE_PTR(collect->etag);
	if (lost && collect->status < 400)
		return unreachable(wire, lost, err);
	json_error_t why;
	if (collect->is_json && buf_len(&collect->body))
		answer->json = json_loadb(buf_data(&collect->body), buf_len(&collect->body), JSON_DECODE_ANY, &why);
	if (collect->status >= 400)
		return problem(collect->status, answer->json, err);
	if (collect->too_big)
		return err_set(err, -EMSGSIZE, "the answer of %s is larger than %u MiB", wire->text, CLIENT_ANSWER_MAX >> 20);
	if (collect->is_json && buf_len(&collect->body) && !answer->json)
		return err_set(err, -EBADMSG, "the answer of %s is not JSON: %s", wire->text, why.text);
	return 0;
}
