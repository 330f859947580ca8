// GET apps/{app}/watch: the app and its instances, at once and at each change.
#pragma once

#include "server/stream.h"

void watch_app(struct request *rq);
void watches_flush(struct server *server); // tells the watchers of apps that changed
