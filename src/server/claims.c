#include "server/claims.h"

#include "base/str.h"
#include "server/core.h"
#include "server/route_table.h"

#include <errno.h>
#include <strings.h>

#define CLAIMS_KEY "v1/claims"

static const char *path_of(const struct spec_route *route)
{
	return route->path ? route->path : "/";
}

// The other app's route that stands in the way, or NULL.
static const struct spec_route *clash(const struct server *server, const struct app_entry *other, const char *host,
				      const char *path, bool may_share)
{
	const struct spec *spec = &other->app.spec;
	for (uint32_t i = 0; i < spec->route_count; i++) {
		AUTO_FREE char *theirs = route_host(spec->routes[i].host, server->platform->domain);
		if (strcasecmp(theirs, host) == 0 && !(may_share && !str_eq(path_of(&spec->routes[i]), path)))
			return &spec->routes[i];
	}
	return NULL;
}

static int check_route(struct server *server, const struct spec *spec, uint32_t index, const char *tenant,
		       const char *environment, struct field_path *path, struct err *err)
{
	const struct spec_route *route = &spec->routes[index];
	AUTO_FREE char *host = route_host(route->host, server->platform->domain);
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.apps, &at, NULL, &value)) {
		const struct app_entry *other = value;
		if (!other->exists)
			continue;
		bool neighbour = str_eq(other->app.tenant, tenant) && str_eq(other->app.environment, environment);
		if ((neighbour && str_eq(other->app.name, spec->name)) ||
		    !clash(server, other, host, path_of(route), neighbour))
			continue;
		snprintf(path->text, sizeof(path->text), "spec.routes[%u]", index);
		bool same_tenant = str_eq(other->app.tenant, tenant);
		err_set(err, -EEXIST, "%s: '%s%s' leads to app '%s' %s already", path->text, host,
			neighbour ? path_of(route) : "", same_tenant ? other->app.name : "?",
			neighbour     ? "of this environment"
			: same_tenant ? "of another environment"
				      : "of another tenant");
		return err_hint(err, "choose another host name, or remove the route from that app first");
	}
	return 0;
}

int claims_check(struct server *server, const struct spec *spec, const char *tenant, const char *environment,
		 struct field_path *path, struct err *err)
{
	for (uint32_t i = 0; i < spec->route_count; i++) {
		int r = check_route(server, spec, i, tenant, environment, path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool same_routes(const struct spec *a, const struct spec *b)
{
	if (!a || a->route_count != b->route_count)
		return false;
	for (uint32_t i = 0; i < a->route_count; i++)
		if (!str_eq(a->routes[i].host, b->routes[i].host) || !str_eq(a->routes[i].path, b->routes[i].path))
			return false;
	return true;
}

void claims_serialise(struct server *server, struct store_txn *txn, const struct spec *before, const struct spec *after)
{
	if (same_routes(before, after))
		return;
	const struct record *record = store_get(server->store, CLAIMS_KEY);
	store_txn_if_revision(txn, CLAIMS_KEY, record ? record->mod_revision : 0);
	store_txn_put(txn, CLAIMS_KEY, "{}", 2);
}
