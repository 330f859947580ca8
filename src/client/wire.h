// Private to src/client: what both faces share. Where the platform is, the headers of a call, and turning an answer's
// bytes into a struct client_answer and a struct err.
#pragma once

#include "base/buf.h"
#include "client/client.h"
#include "http/client.h"

enum { CLIENT_ANSWER_MAX = 64 << 20, CLIENT_HEADERS_MAX = 8 };

// How far the store had come, as answers tell: "EPOCH:REVISION". What was seen in one epoch says nothing of another.
struct client_seen {
	char epoch[48];
	uint64_t revision; // 0: nothing yet
};

struct client_wire {
	char *text; // the address as given, for messages
	char *host; // of the Host header
	char *authorization; // NULL: none
	bool secure;         // https://
	struct client_seen seen; // the furthest
	struct address address;
};

int client_wire_init(struct client_wire *wire, const char *address, const char *token, struct err *err);
void client_wire_clear(struct client_wire *wire);

// A pool of connections there, under TLS if the address says so (trust.h).
struct http_client *client_wire_connect(const struct client_wire *wire, struct loop *loop, size_t max_connections);

// The headers of one call; strings are borrowed from wire and the arguments.
struct client_headers {
	struct http_header items[CLIENT_HEADERS_MAX];
	size_t n;
	char seen[80];
};

// The answer's head: what it says of the store's revision.
void client_wire_note(struct client_wire *wire, const struct http_response *response);
// Says what has been seen by now, of whichever server.
void client_headers_revise(struct client_headers *headers, const struct client_wire *wire);

void client_headers_init(struct client_headers *headers, const struct client_wire *wire, const char *accept);
void client_headers_add(struct client_headers *headers, const char *name, const char *value); // NULL value: nothing

// An answer being collected.
struct client_collect {
	unsigned status;
	bool is_json, too_big;
	char *etag;
	struct buf body;
};

#define CLIENT_COLLECT_INIT ((struct client_collect){ .body = BUF_INIT(CLIENT_ANSWER_MAX) })

void client_collect_clear(struct client_collect *collect);
void client_collect_head(struct client_collect *collect, const struct http_response *response);
void client_collect_data(struct client_collect *collect, const char *bytes, size_t n);

// Judges the answer after it ended (lost: why it broke, or NULL). Returns 0 or fills err; answer is filled in both cases.
int client_collect_finish(struct client_collect *collect, const struct client_wire *wire, const struct err *lost,
			  struct client_answer *answer, struct err *err);
