// Releases: put together from a spec, an artifact and what stack and runtime are at the moment; numbered; never
// changed but for the note that it came up.
#pragma once

#include "server/replica.h"
#include "server/request.h"

struct store_txn;

enum { RELEASES_KEPT = 50 };

// What the cache says of the spec's runtime and stack, and whether the spec's commands can be run with them. Blocks.
struct resolution {
	char *stack, *runtime; // with exact versions; runtime NULL: none
	char **layers;
	uint32_t layer_count;
	struct pair *env; // sorted by name
	uint32_t env_count;
	bool shell;
	char *command;   // the runtime's own; NULL
	char *build_key; // of the build of this artifact with these; NULL: the spec builds nothing
};

int resolution_make(const char *cache, const struct spec *spec, const char *artifact, struct resolution *ret,
		    struct field_path *path, struct err *err);
void resolution_clear(struct resolution *resolution);

// Whether a release with this content would be the same as this one.
bool release_is(const struct release *release, const struct resolution *resolution, const struct spec *spec,
		const char *artifact);

// The number after the highest one that the app ever gave out, also before it was deleted and made again.
uint32_t release_next(struct server *server, const struct app_entry *entry, const char *app_key);

// Puts the release, and deletes the one that is RELEASES_KEPT older unless something runs of it.
void release_put(struct store_txn *txn, const struct app_entry *entry, const struct release *release);

// The newest release before the wanted one that was up in full; when none was, the one before; 0: there is none.
uint32_t release_to_return_to(struct replica *replica, struct app_entry *app);

// Writes down that the wanted release is up in full, unless that is known.
void release_note_up(struct server *server, struct app_entry *app);

void releases_list(struct request *rq); // GET apps/{app}/releases
