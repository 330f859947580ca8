// Requests to the API from outside. The input is a request line ("PUT /v1/…"), a line break, a body. Whatever a route's
// table accepts must survive its own written form unchanged; whatever it refuses must say where and why.
#include "server/route.h"

#include "base/str.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void free_params(char *params[REQUEST_PARAMS])
{
	for (size_t i = 0; i < REQUEST_PARAMS; i++)
		free(params[i]);
}

static void check_round_trip(const struct fields *fields, const void *object)
{
	AUTO_FREE char *text = fields_text(fields, object);
	AUTO_FREE void *again = xcalloc(1, fields->size);
	struct err err = {};
	if (fields_parse_text(fields, text, strlen(text), again, &err) < 0) {
		fprintf(stderr, "%s\n%s\n", err.text, text);
		__builtin_trap();
	}
	AUTO_FREE char *other = fields_text(fields, again);
	assert(str_eq(text, other));
	fields_clear(fields, again);
}

static void check_body(const struct route *route, const char *body, size_t n)
{
	AUTO_JSON json_t *json = NULL;
	struct err err = {};
	if (json_from_bytes(body, n, &json, &err) < 0) {
		assert(*err.text);
		return;
	}
	if (!route->body)
		return;
	AUTO_FREE void *object = xcalloc(1, route->body->size);
	struct field_path path = {};
	enum fields_mode mode = route->flags & ROUTE_LENIENT ? FIELDS_LENIENT : FIELDS_STRICT;
	if (fields_parse(route->body, json, mode, object, &path, &err) < 0) {
		assert(*err.text);
		return;
	}
	check_round_trip(route->body, object);
	fields_clear(route->body, object);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	AUTO_FREE char *input = xstrndup((const char *)bytes, n);
	char *body = strchr(input, '\n'), *path = strchr(input, ' ');
	if (!body || !path || path > body)
		return 0;
	*body++ = *path++ = '\0';
	const struct route *route = NULL;
	char *params[REQUEST_PARAMS] = {}, allow[128];
	if (route_find(input, path, &route, params, allow, sizeof(allow)) == 0)
		check_body(route, body, strlen(body));
	free_params(params);
	return 0;
}
