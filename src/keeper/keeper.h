// `dialtone keeper --data DIR --http ADDR:PORT`: the node's parent process. Owns run/keeper.*, the platform's
// processes, node/instances/*/{keeper,exit,log/}. One thread, and the pool for fsync.
#pragma once

// --hold: only keeps the output of containers and their ends, for `down`; --resume: goes on after holding (hold.h).
// argv[0] is the program, argv[1] "keeper". Returns the exit status: 0 after SIGTERM or STOP, 1 when it cannot start, 2
// for wrong arguments.
int keeper_main(int argc, char **argv);

// The router finds its listening socket here; DIALTONE_LISTEN_FD in its environment says the same.
#define KEEPER_LISTEN_FD 3
