// Answers of the agent's endpoint.
#pragma once

#include "base/err.h"
#include "http/server.h"

#include <jansson.h>

void answer_json(struct http_exchange *x, unsigned status, json_t *json); // json is stolen
void answer_problem(struct http_exchange *x, unsigned status, const struct err *err); // RFC 9457
void answer_problemf(struct http_exchange *x, unsigned status, const char *fmt, ...) PRINTF_LIKE(3, 4);

// The body as a JSON object; NULL when it is not one: then the problem was answered.
json_t *answer_body(struct http_exchange *x, const char *body, size_t n);
