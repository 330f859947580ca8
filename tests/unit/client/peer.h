// A small platform API in a process of its own, on a unix socket, for the client's tests.
#pragma once

#include <sys/types.h>

extern char peer_address[128]; // "unix:…", in a folder that peer_prepare makes and peer_cleanup removes
void peer_prepare(void);
void peer_cleanup(void);
void peer_start(void);
void peer_kill(void); // SIGKILL; the socket file stays
