// What an operator does to an app that is there: each a change of its record, with an audit record and an event.
#pragma once

#include "model/fields.h"
#include "server/request.h"

struct scale {
	char *process; // NULL: the only one, or web
	uint32_t instances;
};
FIELDS_OBJECT(scale)

struct rollback {
	uint32_t release; // 0: the one before
};
FIELDS_OBJECT(rollback)

struct exec_request {
	char **command;
	uint32_t command_count;
	bool tty;
	struct pair *env;
	uint32_t env_count;
	char *process; // of run: whose limits and environment; NULL: the routed one
};
FIELDS_OBJECT(exec_request)

struct app;

// -ENOENT: the app has no process of that name; the hint names those it has.
int no_process(const struct app *app, const char *named, struct err *err);

void apps_list(struct request *rq);
void apps_get(struct request *rq);
void apps_delete(struct request *rq);
void apps_scale(struct request *rq);
void apps_stop(struct request *rq);
void apps_start(struct request *rq);
void apps_restart(struct request *rq);
void apps_rollback(struct request *rq);
void apps_instances(struct request *rq);
