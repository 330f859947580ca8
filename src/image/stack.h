// Stacks and runtimes that are built and in the cache: CACHE/stacks/NAME/VERSION.json,
// CACHE/runtimes/NAME/VERSION.json. A reference is "NAME" (the newest version), or "NAME@VERSION" where VERSION may be
// cut at a dot or dash ("node@22", "python@3.11", "minimal@12"): the newest that it covers. Blocks; callable from any
// thread.
#pragma once

#include "base/err.h"
#include "base/id.h"

#include <stdbool.h>
#include <stdint.h>

struct env_pair {
	char *name, *value;
};

enum image_kind { IMAGE_STACK, IMAGE_RUNTIME };

// One form for both, as the file has it.
struct image {
	enum image_kind kind;
	char *name, *version;
	char *about;   // one line for lists
	char **layers; // digests, top first. Stack: all of it. Runtime: what lies over its stack
	size_t n_layers;
	char **build_layers; // runtime: what a build container has over layers (npm, pip …), top first
	size_t n_build_layers;
	bool build_ready; // runtime: its build part was built (or there is none)
	struct env_pair *env;
	size_t n_env;
	struct env_pair *build_env;
	size_t n_build_env;
	bool has_shell;    // stack
	char *stack;       // runtime: "NAME@VERSION" of the stack it was built over (fits every stack over that one)
	char *build_stack; // runtime: name of the stack for its builds
	char *command;     // runtime: the command when the app names none; NULL
	char **packages;   // "NAME=VERSION", of its own layers
	size_t n_packages;
	uint64_t bytes;    // of its own layers
	uint64_t built_ms; // unix time
};

void image_clear(struct image *i); // zeroed is fine
#define AUTO_IMAGE CLEANUP(image_clear)

// -ENOENT says what there is and how to build it. -EINVAL for a malformed reference.
int stack_find(const char *cache, const char *ref, struct image *ret, struct err *err);
int runtime_find(const char *cache, const char *ref, struct image *ret, struct err *err);

// All that are built, sorted by name, newest version first. *ret: allocated array; image_clear each, then free.
int images_list(const char *cache, enum image_kind kind, struct image **ret, size_t *ret_n, struct err *err);
void images_free(struct image *images, size_t n);

// Splits a reference: *ret_name is allocated, *ret_version is NULL or allocated. -EINVAL with a reason.
int image_ref_parse(const char *ref, char **ret_name, char **ret_version, struct err *err);

// Orders versions as people read them: "3.9" < "3.11" < "3.11.2" < "3.11.2-1".
int version_compare(const char *a, const char *b);
// True for "22.1" against "22", "22.1", "22.1.3", but not "2".
bool version_covers(const char *asked, const char *version);
