// Private to src/client: the link that calls and watches hang on.
#pragma once

#include "client/wire.h"

struct client_link {
	struct client_wire wire;
	struct loop *loop;
	struct http_client *http;
	struct list calls; // open ones
};
