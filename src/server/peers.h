// The other servers, for what only they have: files of artifacts that were uploaded there.
#pragma once

#include "server/request.h"

#define RELAYED "Dialtone-Relayed" // in a request of one server to another: not to be passed on again

// Passes a GET of an artifact on to a server whose record says that it has the files. False: there is none, or the
// request was passed on already; it is not answered then.
bool peers_have(struct request *rq);

void peers_close(struct server *server);
