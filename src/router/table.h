// The route table: an immutable snapshot, swapped whole. Instances live on across snapshots as upstreams, so that
// counts and connections of one that stays are kept.
#pragma once

#include "model/exchange.h"
#include "router/upstream.h"

struct route {
	char *host; // lower case, without port
	char *path; // prefix, begins with '/'
	size_t path_len;
	char *app; // "tenant/environment/app", for messages
	enum route_state state;
	struct upstream **upstreams; // references
	uint32_t n;
};

struct table {
	uint64_t version;
	struct route *routes; // sorted by host, then longest path first
	uint32_t n;
	uint32_t refs; // a request holds the table that it was routed by
};

// Takes each instance's upstream from the set (made there when new). The caller owns one reference.
struct table *table_new(const struct route_table *from, struct upstreams *set);
struct table *table_ref(struct table *table);
void table_unref(struct table *table); // NULL is fine

// The route with the longest path prefix for host (as in a Host header: any case, with or without port); NULL: none.
// A prefix matches whole segments: "/a" matches "/a" and "/a/b", not "/ab".
const struct route *table_find(const struct table *table, const char *host, const char *path);
