// The platform API and the comparator's driver: one process, one thread of its own beside the store's writer and the
// thread pool. Everything it holds in memory can be made again from the store and from what agents and routers say.
#pragma once

// `dialtone server --data DIR [--store etcd://ADDR:PORT,…]`: serves DIR/platform.json's `api` address until SIGTERM or
// SIGINT; any number of them with the same store in etcd make one platform. Returns the process's
// exit status: 0 after an orderly stop, 1 with the reason on standard error, 2 for a wrong command line.
// `dialtone server --openapi` prints the API's OpenAPI document instead.
int server_main(int argc, char **argv);
