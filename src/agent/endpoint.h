// Private to the agent's endpoint: one function for each thing that can be asked.
#pragma once

#include "agent/answer.h"
#include "agent/core.h"
#include "agent/launch.h"

void endpoint_logs(struct agent *agent, struct http_exchange *x);
void endpoint_exec(struct agent *agent, struct http_exchange *x, const char *id);
void endpoint_run(struct agent *agent, struct http_exchange *x);
void endpoint_build(struct agent *agent, struct http_exchange *x);

// An instance has come or ended: followers of its app's logs are told.
void logs_instance_came(struct agent *agent, const struct assignment *a);
void logs_instance_ended(struct agent *agent, const struct assignment *a);

// What exec and run have in common.
struct command_request {
	char **words; // NULL-terminated, at least one
	struct pair *env;
	uint32_t n_env;
	bool tty;
	uint16_t cols, rows;
};

// -EINVAL names what is wrong in the body.
int command_request_parse(const json_t *json, struct command_request *ret, struct err *err);
void command_request_clear(struct command_request *request);

// Three pipes for a process: ours[0] is written, the others are read; theirs are its 0, 1 and 2. All close-on-exec.
struct stdio {
	int ours[3], theirs[3];
};
#define STDIO_INIT ((struct stdio){ { -1, -1, -1 }, { -1, -1, -1 } })
int stdio_open(struct stdio *stdio, struct err *err);
void stdio_close_theirs(struct stdio *stdio);
void stdio_close(struct stdio *stdio);

int exit_code(int wait_status); // as a shell counts: 128 + signal
