// Blocking work of the server on the thread pool, counted, so that the server is not freed under it.
#pragma once

struct server;

// As loop_work. done is called on the loop; the server is still there then, but may be closing.
void server_work(struct server *server, void (*work)(void *arg), void (*done)(void *arg), void *arg);
