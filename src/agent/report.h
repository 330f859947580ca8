// What the agent tells every server: changes a few milliseconds after they happened, so that several go together, and at
// least every second that it is there. After anything was lost on the way the next one says everything.
#pragma once

#include "base/err.h"
#include "io/loop.h"

struct agent;
struct client_link;
struct report_sender; // to one server

struct report_sender *report_sender_new(struct agent *agent, struct client_link *link, const char *address);
void report_sender_free(struct report_sender *sender); // no call of its link's may come back. NULL is fine

void report_instance(struct agent *agent, const char *id); // it has changed
void report_later(struct agent *agent, const char *id);    // likewise, but the next second will do
void report_forget(struct agent *agent, const char *id);   // it is no more
void report_everything(struct agent *agent);
