// The servers of one platform, for an agent or a router on its loop: a link to each, which of them decides, and streams
// that follow the one that does. The servers tell by themselves who is there and who decides, each on a stream of its
// own, so that one that is dead or paused hides nothing; what they told last is kept in a file for the next start.
#pragma once

#include "client/client.h"

struct client_servers;

struct client_servers_spec {
	struct loop *loop;
	const char *addresses; // "http://ADDR:PORT,…": these are always among them; copied
	const char *token;     // copied
	const char *file; // of those told last; copied. NULL: the addresses are all there are, and nothing is asked
	// A server came; what is returned is given back to gone, before its link is freed. May be NULL.
	void *(*came)(struct client_link *link, const char *address, void *arg);
	void (*gone)(void *item, void *arg);
	void *arg;
};

int client_servers_new(const struct client_servers_spec *spec, struct client_servers **ret, struct err *err);
void client_servers_free(struct client_servers *servers); // streams must have been stopped. NULL is fine

// All addresses for client_new, the one that decides first; heap.
char *client_servers_addresses(const struct client_servers *servers);

// As client_watch_start, on whichever server decides: an answer of 421 leads on to the one that it names as `leader`,
// and a stream moves by itself as soon as any server tells that another one decides. Without a server that does, all
// are tried in turn.
struct client_watch *client_servers_watch(struct client_servers *servers, const struct client_watch_spec *spec);
