// The agents' side of the API: their streams of assignments, their reports.
#pragma once

#include "server/node_link.h"

struct placement_entry;
struct node_entry;

void node_link_clear(struct node_link *link);
void node_link_problems(struct node_link *link, struct node_report *report); // takes them over; NULL: there are none
void node_link_removed(struct node_link *link, const struct placement_entry *p); // its record is gone

void node_flush(struct server *server, struct node_entry *node); // writes what the stream lacks
// On the server that decides: its stream is open. On others: its reports come.
bool node_is_connected(struct server *server, const struct node_entry *node);
void nodes_end(struct server *server); // all streams: another server decides
void reports_catch_up(struct server *server); // events of what was reported while nobody was there to write them

void nodes_stream(struct request *rq); // GET /v1/nodes/{node}/assignments
void nodes_report(struct request *rq); // POST /v1/nodes/{node}/report
void nodes_list(struct request *rq);   // GET /v1/nodes
