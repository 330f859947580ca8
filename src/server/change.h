// A change asked for by a request, as one store transaction that holds its audit record. Met a concurrent one: the
// handler is run again on the facts as they then are.
#pragma once

#include "server/replica.h"
#include "server/request.h"

enum { CHANGE_ATTEMPTS = 10 };

// Takes txn. done is called once it is durable and the replica has it; otherwise the request is answered with the
// reason. If-Match is the caller's to have put into txn (change_match); then a conflict answers 412.
void change_commit(struct request *rq, struct store_txn *txn, const char *object, const char *detail,
		   void (*done)(struct request *rq));

// The app that the request's path names, with the replica caught up; answers 404 and returns NULL when there is none.
struct app_entry *request_app(struct request *rq);

// Puts the changed app record into txn, on condition that it is still as in entry; -ESTALE and an answer of 412 when
// the request says If-Match and it does not hold; -EINVAL and an answer of 400 when the record could not be read back.
int change_app(struct request *rq, struct store_txn *txn, const struct app_entry *entry, struct app *app);
