// Private to src/image: recipes as they are written (YAML, see docs/recipes.md), and their locks.
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "image/stack.h"

#include <stdbool.h>

struct keyed_item {
	char *key, *value;
};

struct keyed {
	struct keyed_item *items;
	size_t n;
};

struct lines {
	char **items;
	size_t n;
};

struct npm_package {
	char *name, *version;
	struct keyed take; // path in the package → path in the layer
};

// What makes one layer.
struct layer_recipe {
	struct lines packages; // Debian; what they depend on comes too
	struct lines without;  // Debian packages that are taken as there already
	struct npm_package *npm;
	size_t n_npm;
	struct lines directories; // "PATH" or "MODE PATH"
	struct keyed files;       // path → content; a "#!" at the front makes it executable
	struct keyed links;       // path → target
	struct lines drop;        // patterns of paths that are removed
	struct lines run;         // commands, run in the root file system; words, no shell
	char *certificates;       // where the bundle of /usr/share/ca-certificates goes
	char *keystore;           // where the same goes for Java
	struct keyed env;
};

// Puts no file in, so that there is no layer of it.
bool layer_recipe_is_empty(const struct layer_recipe *recipe);

struct recipe {
	enum image_kind kind;
	char *path, *name, *version, *version_of, *about, *command;
	char *over; // stack this lies over; NULL: nothing
	struct layer_recipe layer;
	char *build_over; // runtime: stack of its builds; NULL: no build part
	struct layer_recipe build;
	bool has_shell;
	char *text; // of the file
};

void recipe_clear(struct recipe *r);

// -EINVAL with file, line, column and reason. path: ends in ".yaml".
int recipe_read(const char *path, struct recipe *ret, struct err *err);

// What a layer was resolved to.
struct lock_part {
	struct keyed debian;     // package → version
	struct keyed npm;        // package → "VERSION DIGEST"
	char layer[DIGEST_SIZE]; // "" when none
};

struct recipe_lock {
	struct lock_part main, build;
};

void recipe_lock_clear(struct recipe_lock *l);

// The file beside the recipe, ".lock" for ".yaml". One that is not there gives an empty lock.
int recipe_lock_read(const char *recipe_path, struct recipe_lock *ret, struct err *err);
int recipe_lock_write(const char *recipe_path, const struct recipe_lock *l, struct err *err);

void keyed_add(struct keyed *p, const char *key, const char *value);
const char *keyed_get(const struct keyed *p, const char *key); // NULL when absent
void keyed_clear(struct keyed *p);
void lines_add(struct lines *t, const char *text);
void lines_clear(struct lines *t);
