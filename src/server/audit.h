// The audit trail: every change carries its record in its own transaction; attempts that were refused are recorded too,
// at a bounded pace: nobody without a token can push the trail's content out of it in less than days. The newest
// AUDIT_MAX records are kept.
#pragma once

#include "server/request.h"

struct server;
struct store_txn;

enum { AUDIT_MAX = 10000 };

// Of refused attempts.
struct allowance {
	uint64_t refilled_ms;
	unsigned left;    // that may still be recorded
	uint64_t dropped; // that were not, since the last one that was
};

struct audit_trail {
	uint64_t first, next;              // sequence numbers: of the oldest that may still be there, of the next
	struct allowance anonymous, known; // without a valid token; with one
};

void audit_open(struct server *server); // after the store

// Adds to txn the record of what rq does to object (a store key, may be NULL).
void audit_add(struct request *rq, struct store_txn *txn, const char *object, const char *detail);

// Records that rq was answered with this status, if such attempts are audited: changes, and whatever lacks rights.
void audit_refused(struct request *rq, unsigned status, const char *detail);

// Records that what was begun, and answered as such, came to nothing.
void audit_failed(struct request *rq, const char *detail);

void audit_list(struct request *rq); // GET /v1/audit
