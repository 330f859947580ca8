// Making stacks and runtimes from recipes (share/stacks/NAME.yaml, share/runtimes/NAME-VERSION.yaml; form:
// docs/recipes.md). Needs root, mmdebstrap for Debian packages and npm for npm packages, but no running platform.
// Blocks for seconds to minutes; callable from any thread and from several processes at once.
#pragma once

#include "image/stack.h"

enum lock_use {
	LOCK_PREFER, // the lock's versions when the mirror still has them; otherwise resolves anew and says what
		     // changed
	LOCK_STRICT, // the lock's versions and its layer digest, or fail
	LOCK_UPDATE, // resolve anew and write the lock
};

struct image_build_options {
	enum lock_use lock;
	bool with_build;                               // runtime: its build part too, and the stack for builds
	const char *share;                             // folder with the shipped recipes; NULL: none
	bool force;                                    // build although the cache has it
	void (*progress)(void *arg, const char *line); // one line a step; may be NULL
	void *arg;
};

// Builds recipe and, when missing, the stacks it lies over: of ../stacks beside the recipe, else what the cache has,
// else of share/stacks. *ret is what is in the cache afterwards; *ret_built (may be NULL) whether anything had to be
// done. options may be NULL.
int image_build(const char *recipe, const char *cache, const struct image_build_options *options, struct image *ret,
		bool *ret_built, struct err *err);

// The path of the shipped recipe that a reference means ("minimal", "node", "node@20", "python@3.11"), newest version
// when none is asked for. share: folder with stacks/ and runtimes/. Caller frees. -ENOENT lists what there is.
int recipe_locate(const char *share, enum image_kind kind, const char *ref, char **ret, struct err *err);
