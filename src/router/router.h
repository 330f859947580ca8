// The L7 data plane: HTTP to instances. One thread; everything belongs to its loop. It serves by the last route table
// it got, also with the server gone.
#pragma once

// `dialtone router --data DIR`, with the listening socket at the descriptor named by $DIALTONE_LISTEN_FD. Runs until
// SIGTERM, then finishes what is in flight. Returns the exit status: 0, 1 after an error (logged), 2 for wrong
// arguments.
int router_main(int argc, char **argv);
