// What the agent tells the server: changes a few milliseconds after they happened, so that several go together, and at
// least every second that it is there. After anything was lost on the way the next one says everything.
#pragma once

#include "base/err.h"
#include "io/loop.h"

struct agent;
struct report_sender;

struct report_sender *report_sender_new(struct agent *agent);
void report_sender_free(struct report_sender *sender); // NULL is fine

void report_instance(struct report_sender *sender, const char *id); // it has changed
void report_later(struct report_sender *sender, const char *id);    // likewise, but the next second will do
void report_forget(struct report_sender *sender, const char *id);   // it is no more
void report_everything(struct report_sender *sender);
