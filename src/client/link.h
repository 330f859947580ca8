// Private to src/client: the link that calls and watches hang on; how a watch follows the server that decides.
#pragma once

#include "client/wire.h"

struct client_link {
	struct client_wire wire;
	struct loop *loop;
	struct http_client *http;
	struct list calls; // open ones
};

struct client_servers;

struct client_watch *client_watch_follow(struct client_servers *servers, struct loop *loop, struct list *followers,
					 const struct client_watch_spec *spec);
struct client_watch *client_watch_of(struct list *follower); // from its place in the list
// Goes on at another server at once, if it is not at this one already.
void client_watch_move(struct client_watch *watch, struct client_link *to);
void client_watch_leave(struct client_watch *watch, const struct client_link *link); // which is about to be freed

// Where to try next: at the server with this address (NULL: none is known), otherwise at the one after last.
struct client_link *client_servers_pick(struct client_servers *servers, const struct client_link *last,
					const char *address);
