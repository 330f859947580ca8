// Who may ask: bearer tokens, of which only digests are kept.
#pragma once

#include "server/request.h"

// Reads DATA/secrets/{operator,node}.token, and puts their digests into the store. A file that is not there is passed
// over.
int access_open(struct server *server, struct err *err);

// Fills in rq->who. Answers 401 or 403, and returns false, when the route asks for more than the request brings.
bool access_check(struct request *rq);

// Tenant and environment of the path exist; answers 404 otherwise.
bool access_place(struct request *rq);
