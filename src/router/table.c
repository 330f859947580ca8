#include "router/table.h"

#include "base/str.h"

#include <ctype.h>

static int by_host_then_path(const void *left, const void *right)
{
	const struct route *a = left, *b = right;
	int order = strcmp(a->host, b->host);
	if (order)
		return order;
	if (a->path_len != b->path_len)
		return a->path_len < b->path_len ? 1 : -1;
	order = strcmp(a->path, b->path);
	return order ? order : strcmp(a->app, b->app); // the same address twice: always the same one wins
}

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

static void fill_route(struct route *route, const struct route_entry *from, struct upstreams *set)
{
	route->host = xstrdup(from->host);
	lower(route->host);
	route->path = xstrdup(str_empty(from->path) ? "/" : from->path);
	route->path_len = strlen(route->path);
	route->app = xasprintf("%s/%s/%s", from->tenant, from->environment, from->app);
	route->state = from->state;
	route->upstreams = xcalloc(from->instance_count, sizeof(struct upstream *));
	for (uint32_t i = 0; i < from->instance_count; i++) {
		struct upstream *u = upstreams_get(set, from->instances[i].id, from->instances[i].address);
		if (u)
			route->upstreams[route->n++] = u;
	}
}

struct table *table_new(const struct route_table *from, struct upstreams *set)
{
	struct table *table = xcalloc(1, sizeof(*table));
	table->version = from->version;
	table->refs = 1;
	table->n = from->route_count;
	table->routes = xcalloc(table->n, sizeof(*table->routes));
	for (uint32_t i = 0; i < table->n; i++)
		fill_route(&table->routes[i], &from->routes[i], set);
	qsort(table->routes, table->n, sizeof(*table->routes), by_host_then_path);
	return table;
}

struct table *table_ref(struct table *table)
{
	table->refs++;
	return table;
}

void table_unref(struct table *table)
{
	if (!table || --table->refs)
		return;
	for (uint32_t i = 0; i < table->n; i++) {
		struct route *route = &table->routes[i];
		for (uint32_t k = 0; k < route->n; k++)
			upstream_unref(route->upstreams[k]);
		free(route->upstreams);
		free(route->host);
		free(route->path);
		free(route->app);
	}
	free(table->routes);
	free(table);
}

#define HOST_MAX 255

// Lower case, without ":port" and a trailing dot. False when it cannot be a name.
static bool host_key(const char *host, char key[HOST_MAX + 1])
{
	size_t n = 0;
	bool in_brackets = false; // of an IPv6 address
	for (; host[n] && (in_brackets || host[n] != ':'); n++) {
		if (n == HOST_MAX)
			return false;
		in_brackets = host[n] == '[' || (in_brackets && host[n] != ']');
		key[n] = (char)tolower((unsigned char)host[n]);
	}
	if (n && key[n - 1] == '.')
		n--;
	key[n] = '\0';
	return n > 0;
}

static bool path_matches(const struct route *route, const char *path)
{
	if (strncmp(path, route->path, route->path_len) != 0)
		return false;
	char next = path[route->path_len];
	return route->path[route->path_len - 1] == '/' || next == '\0' || next == '/';
}

static uint32_t first_of_host(const struct table *table, const char *host)
{
	uint32_t low = 0, high = table->n;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (strcmp(table->routes[middle].host, host) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct route *table_find(const struct table *table, const char *host, const char *path)
{
	char key[HOST_MAX + 1];
	if (!host_key(host, key))
		return NULL;
	for (uint32_t i = first_of_host(table, key); i < table->n && str_eq(table->routes[i].host, key); i++)
		if (path_matches(&table->routes[i], path))
			return &table->routes[i];
	return NULL;
}
