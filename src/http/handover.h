// Private to src/http: a connection under TLS that is given away as a socket. The taker gets one end of a pair; what it
// writes there is encrypted and sent, what comes is decrypted into it, no more than some 100 KiB each way in memory.
// Ends of either direction are passed on by themselves. Lives on its loop.
#pragma once

#include "base/list.h"
#include "http/channel.h"
#include "io/loop.h"

struct handover;

// Takes the channel (left cleared) when it succeeds; *ret_fd is non-blocking. on_over (may be NULL) hears of the end.
int handover_start(struct loop *loop, struct list *all, struct channel *ch, void (*on_over)(void *arg), void *arg,
		   int *ret_fd);
void handovers_stop(struct list *all); // cuts them; no on_over
