// The etcd driver: a store in a cluster of etcd members (3.4.23 or later), shared by any number of processes. Each has
// its replica in memory; transactions go to a member, and what it and all others commit comes back through one watch.
#pragma once

#include "store/store.h"

struct store_etcd_options {
	const char *ca, *cert, *key; // PEM files; any of them makes it TLS, NULL as in tls_config_read
	unsigned open_ms;            // how long opening may take; 0: 10,000
};

// url: "etcd://ADDR:PORT,ADDR:PORT…", the members (one is enough, more are better; a port left out is 2379). Blocks by
// running the loop, so it is not to be called from within it: until the first list is in. -ETIMEDOUT: no member (or no
// majority) answered. etcd's own users and passwords are not supported. owner.fatal is never called: this driver has
// nothing that it cannot wait for.
int store_open_etcd(struct loop *loop, const char *url, const struct store_etcd_options *options,
		    struct store_owner owner, struct store **ret, struct err *err);

struct store_etcd_stats {
	uint64_t resent;     // transactions sent more than once
	uint64_t recognised; // found to have been applied by an earlier sending
	uint64_t unknown, fenced;
	uint64_t moved;      // from one member to another
	uint64_t duplicates; // revisions that the watch delivered a second time; dropped
	uint64_t mismatches; // deliveries that did not fit to the replica; each made it list again
	uint64_t listed;     // whole lists, the first included
	uint64_t stale;      // answers older than what was known; not used
	const char *version; // of etcd, as the member asked last says; "" while unknown
	const char *member;  // in use now
};

void store_etcd_stats(const struct store *store, struct store_etcd_stats *ret);
