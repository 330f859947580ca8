// One instance's health check: HTTP GET, TCP connect, or merely that the process runs and went on running for a moment,
// so that a release which dies at its start never replaces one that works. Each connection is for one check. Until the
// first success checks follow each other quickly (10 ms, rising), so that an instance is ready when it is; then at the
// interval. Lives on its loop.
#pragma once

#include "io/loop.h"
#include "model/spec.h"

#include <netinet/in.h>

enum { PROBE_PROCESS_LIVES_MS = 2000 };

struct probe;
typedef void probe_result_fn(struct probe *probe, bool ok, const char *detail);

struct probe {
	struct loop *loop; // NULL: not started
	enum health_type type;
	char *request; // http: what is sent
	struct sockaddr_in address;
	uint32_t interval_ms, timeout_ms;
	probe_result_fn *on_result;

	uint64_t began_ms; // this check
	uint32_t took_ms;  // the one that on_result is about
	uint32_t pause_ms; // before the next check, while none succeeded
	bool seen_ok;
	struct timer timer; // the next check, or the timeout of this one
	struct poll poll;
	int fd; // -1: between two checks
	enum { PROBE_CONNECTS, PROBE_SENDS, PROBE_READS } phase;
	size_t sent, got;
	char head[64]; // the answer's status line, as far as it came
};

// health is read during the call only; ip in host byte order. Results come later, never from inside this call. seen_ok:
// an adopted instance that was ready, which is checked at its interval only.
void probe_start(struct probe *probe, struct loop *loop, const struct health *health, uint32_t ip, uint32_t port,
		 bool seen_ok, probe_result_fn *on_result);
void probe_stop(struct probe *probe); // zeroed is fine
