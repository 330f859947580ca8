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

// What a member of the cluster says of itself.
struct store_member {
	const char *address;
	bool answers, leads, in_use;
	const char *version;        // "" when it does not answer
	uint64_t bytes, used_bytes; // of its database: the file, and what of it is in use (0: it does not say)
	const char *alarms;         // or why it does not answer; "" for none
};

// Asks all members of the url. done is called once, from the loop (or from store_close), after timeout_ms at the latest;
// members are valid during that call.
void store_etcd_members(struct store *store, unsigned timeout_ms,
			void (*done)(void *arg, const struct store_member *members, size_t n), void *arg);

// What is known to be wrong with that version of etcd, to stand behind its number; NULL: nothing that matters here.
const char *store_etcd_faults(const char *version);
#define STORE_ETCD_UPGRADE "upgrade etcd's members one after the other to the newest 3.5 or 3.6"
