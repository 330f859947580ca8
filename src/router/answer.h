// Answers of the router's own: honest about why, for machines (X-Dialtone-Error) and for people.
#pragma once

#include "base/buf.h"
#include "model/exchange.h"

#include <stdbool.h>

struct own_answer {
	unsigned status;
	const char *code;   // X-Dialtone-Error: "no-route", "stopped", "none-ready", "connect-failed" …
	const char *reason; // one sentence for people
	const char *advice; // what the app's owner can do
};

// Appends a whole response. html: the client prefers a page; is_head: no body; close: the connection ends behind it.
void answer_write(struct buf *out, const struct own_answer *answer, bool html, bool is_head, bool close);

extern const struct own_answer answer_no_route, answer_no_table, answer_no_proxy, answer_dishonest;
extern const struct own_answer answer_connect_failed, answer_broke_off, answer_bad_answer, answer_too_slow;
extern const struct own_answer answer_client_late, answer_head_late, answer_overloaded;

// Why a route has no instance that could answer.
const struct own_answer *answer_nothing_ready(enum route_state state);
