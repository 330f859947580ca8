// How long the router waits for what. An operator changes any of them by name: docs/router.md, "Limits".
#pragma once

#include "base/err.h"

#include <stdint.h>

// The environment variable, "NAME=MILLISECONDS,…"; read once, at the start.
#define LIMITS_VARIABLE "DIALTONE_ROUTER_LIMITS"

struct limits {
	uint32_t head_ms;     // for a request's head, from its first byte (for a connection's first: from the accept)
	uint32_t idle_ms;     // for a client between requests
	uint32_t body_ms;     // between bytes of a request's body
	uint32_t connect_ms;  // for an instance to accept a connection
	uint32_t answer_ms;   // until the head of the answer, from the request's end or an interim answer
	uint32_t transfer_ms; // between bytes of an answer, either to come or to be taken by the client
	uint32_t tunnel_ms;   // for a tunnel without a byte either way
	uint32_t linger_ms;   // for the client to close, when the answer is sent and the connection ends
	uint32_t instance_idle_ms; // for a kept connection to an instance
	uint32_t drain_ms;         // after SIGTERM for what is in flight
};

// The defaults, changed by text (NULL: by nothing). -EINVAL with a hint for a name that is none or a number not from 1
// to 604800000 (a week).
int limits_parse(const char *text, struct limits *ret, struct err *err);
