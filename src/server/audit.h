// The audit trail: every change carries its record in its own transaction; attempts that were refused are recorded too,
// at a bounded pace. The newest AUDIT_MAX records are kept.
#pragma once

#include "server/request.h"

struct server;
struct store_txn;

enum { AUDIT_MAX = 10000 };

struct audit_trail {
	uint64_t next; // sequence number
	uint64_t refilled_ms;
	unsigned allowance; // refused attempts that may still be recorded
	uint64_t dropped;   // refused attempts that were not, since the last one that was
};

void audit_open(struct server *server); // after the store

// Adds to txn the record of what rq does to object (a store key, may be NULL).
void audit_add(struct request *rq, struct store_txn *txn, const char *object, const char *detail);

// Records that rq was answered with this status, if such attempts are audited: changes, and whatever lacks rights.
void audit_refused(struct request *rq, unsigned status, const char *detail);

void audit_list(struct request *rq); // GET /v1/audit
