// One end of a dialtone-stream (ARCHITECTURE.md): frames on a socket on one side, a process's pipes or its terminal on
// the other, with back-pressure both ways. Owns all descriptors given to it. Lives on its loop.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "io/loop.h"

#include <sys/types.h>

struct terminal;

struct terminal_spec {
	struct loop *loop;
	int socket;	      // non-blocking
	struct buf *early;    // what had been read from it already; taken over. May be NULL
	void (*on_signal)(struct terminal *terminal, int signum); // the other end asks for it
	// The other end has gone, or was told the end and all was sent. Frees nothing: call terminal_free.
	void (*on_gone)(struct terminal *terminal);
	void *arg;
};

struct terminal *terminal_new(const struct terminal_spec *spec);
void terminal_free(struct terminal *terminal); // NULL is fine; also from inside on_gone
void *terminal_arg(const struct terminal *terminal);

// The process's side: pipes (our ends), or tty, the master of its terminal, with the others -1.
void terminal_attach(struct terminal *terminal, int in, int out, int errors, int tty);

// The process has ended: what is left of its output is sent (for at most a second), then the status, then on_gone.
void terminal_exited(struct terminal *terminal, int status);
// There is no process, or no longer: the reason is sent, then on_gone.
void terminal_fail(struct terminal *terminal, const struct err *err);
