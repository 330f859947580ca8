#include "server/route.h"

#include "base/str.h"

#include <errno.h>

// The next segment of a path: its start and length; false at the end.
static bool next_segment(const char **at, const char **ret, size_t *ret_len)
{
	if (**at != '/')
		return false;
	*ret = *at + 1;
	*ret_len = strcspn(*ret, "/");
	*at = *ret + *ret_len;
	return true;
}

static bool is_param(const char *segment, size_t len)
{
	return len > 2 && segment[0] == '{' && segment[len - 1] == '}';
}

int route_param_index(const struct route *route, const char *name)
{
	const char *at = route->path, *segment;
	size_t len;
	for (int i = 0; next_segment(&at, &segment, &len);) {
		if (!is_param(segment, len))
			continue;
		if (strlen(name) == len - 2 && strncmp(segment + 1, name, len - 2) == 0)
			return i;
		i++;
	}
	return -1;
}

static bool matches(const char *pattern, const char *path)
{
	const char *want, *got;
	size_t want_len, got_len;
	while (next_segment(&pattern, &want, &want_len)) {
		if (!next_segment(&path, &got, &got_len) || !got_len)
			return false;
		if (!is_param(want, want_len) && (want_len != got_len || memcmp(want, got, got_len) != 0))
			return false;
	}
	return !*path;
}

static void free_params(char *params[REQUEST_PARAMS])
{
	for (size_t i = 0; i < REQUEST_PARAMS; i++) {
		free(params[i]);
		params[i] = NULL;
	}
}

static int take_params(const char *pattern, const char *path, char *params[REQUEST_PARAMS])
{
	const char *want, *got;
	size_t want_len, got_len, n = 0;
	while (next_segment(&pattern, &want, &want_len) && next_segment(&path, &got, &got_len)) {
		if (!is_param(want, want_len))
			continue;
		params[n] = http_percent_decode(got, got_len);
		if (!params[n++]) {
			free_params(params);
			return -EINVAL;
		}
	}
	return 0;
}

// RFC 9110, 9.3.2: HEAD is what GET answers, without its content. A stream of events has no end to wait for.
static bool has_head(const struct route *route)
{
	return strcmp(route->method, "GET") == 0 && route->answer != ANSWER_EVENTS;
}

static bool answers(const struct route *route, const char *method)
{
	return strcmp(route->method, method) == 0 || (strcmp(method, "HEAD") == 0 && has_head(route));
}

static void add_allow(char *allow, size_t size, const char *method)
{
	size_t used = strlen(allow);
	snprintf(allow + used, size - used, "%s%s", used ? ", " : "", method);
}

int route_find(const char *method, const char *path, const struct route **ret, char *params[REQUEST_PARAMS],
	       char *allow, size_t allow_size)
{
	allow[0] = '\0';
	for (size_t i = 0; i < n_routes; i++) {
		const struct route *route = &routes[i];
		if (!matches(route->path, path))
			continue;
		if (!answers(route, method)) {
			add_allow(allow, allow_size, route->method);
			if (has_head(route))
				add_allow(allow, allow_size, "HEAD");
			continue;
		}
		*ret = route;
		return take_params(route->path, path, params);
	}
	return allow[0] ? -ENOTSUP : -ENOENT;
}
