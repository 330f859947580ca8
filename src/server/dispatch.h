// From a request on the wire to the function of its route: path, method, token, tenant, body, in this order.
#pragma once

#include "http/server.h"

void dispatch(struct http_exchange *x, void *server); // http_server_config.on_request
