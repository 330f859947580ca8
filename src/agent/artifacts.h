// The layers of an instance on this machine. Stacks and runtimes are in the cache or they are not; artifacts are fetched
// from the server and unpacked under DATA/node/artifacts, each once however many instances wait for it.
#pragma once

#include "base/err.h"
#include "base/map.h"
#include "io/loop.h"
#include "model/exchange.h"

struct artifacts_spec {
	struct loop *loop;
	const char *token;	 // of the platform; must outlive it
	char *(*addresses)(void *arg); // of its servers, for client_new; heap
	const char *dir;	 // DATA/node/artifacts; copied
	const char *cache;	 // must outlive it
	void (*on_end)(void *arg); // a fetch has ended, well or not: ask again
	void *arg;
};

struct artifacts {
	struct artifacts_spec spec;
	char *dir;
	struct map fetches; // digest → struct fetch
	struct map latest;  // app's uid → digest of what it had last, most of which the next one has too; heap
};

void artifacts_init(struct artifacts *artifacts, const struct artifacts_spec *spec);
void artifacts_clear(struct artifacts *artifacts); // no fetch may be under way

// 0: everything is here. -EINPROGRESS: on_end will come. -EAGAIN: no server to fetch it from at present; ask again.
// -ENOENT: a layer is not in the cache, or the server does not have the artifact. -EBADMSG: it is damaged. Those of a
// fetch stay the answer for a second, then asking fetches anew.
int artifacts_pull(struct artifacts *artifacts, const struct assignment *a, struct err *err);

// The directories of the layers, top first, for a container: heap strings in a heap array of *ret_n. Any thread.
char **artifacts_layers(const struct artifacts *artifacts, const struct assignment *a, size_t *ret_n);
void texts_free(char **texts, size_t n);
