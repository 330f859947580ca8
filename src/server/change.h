// A change asked for by a request, as one store transaction that holds its audit record. Met a concurrent one: the
// handler is run again on the facts as they then are.
#pragma once

#include "server/replica.h"
#include "server/request.h"

enum { CHANGE_ATTEMPTS = 10 };

// Takes txn. done is called once it is durable and the replica has it; otherwise the request is answered with the
// reason. With an If-Match that held before, a conflict answers 412.
void change_commit(struct request *rq, struct store_txn *txn, const char *object, const char *detail,
		   void (*done)(struct request *rq));

// Answers 412 and returns false when the request's If-Match does not hold for the app (NULL: there is none). Comes
// before everything else that is judged of the app (RFC 9110, 13.2.1), also when the request would change nothing.
bool if_match_holds(struct request *rq, const struct app_entry *app);

// The app that the request's path names, with the replica caught up; NULL when there is none.
struct app_entry *request_find_app(struct request *rq);

// The same, judged: answers and returns NULL when there is none (404) or when If-Match does not hold for it (412).
struct app_entry *request_app(struct request *rq);

// Puts the changed app record into txn, on condition that it is still as in entry; -EINVAL and an answer of 400 when
// the record could not be read back.
int change_app(struct request *rq, struct store_txn *txn, const struct app_entry *entry, struct app *app);
