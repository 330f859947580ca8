// Private to src/image: recipes as they are written (YAML, see docs/recipes.md), and their locks.
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "image/stack.h"

#include <stdbool.h>

struct pair {
	char *key, *value;
};

struct pairs {
	struct pair *items;
	size_t n;
};

struct texts {
	char **items;
	size_t n;
};

struct npm_package {
	char *name, *version;
	struct pairs take; // path in the package → path in the layer
};

// What makes one layer.
struct layer_recipe {
	struct texts packages; // Debian; what they depend on comes too
	struct texts without;  // Debian packages that are taken as there already
	struct npm_package *npm;
	size_t n_npm;
	struct texts directories; // "PATH" or "MODE PATH"
	struct pairs files;	  // path → content; a "#!" at the front makes it executable
	struct pairs links;	  // path → target
	struct texts drop;	  // patterns of paths that are removed
	struct texts run;	  // commands, run in the root file system; words, no shell
	char *certificates;	  // where the bundle of /usr/share/ca-certificates goes
	char *keystore;		  // where the same goes for Java
	struct pairs env;
};

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
	struct pairs debian; // package → version
	struct pairs npm;    // package → "VERSION DIGEST"
	char layer[DIGEST_SIZE]; // "" when none
};

struct lock {
	struct lock_part main, build;
};

void lock_clear(struct lock *l);

// The file beside the recipe, ".lock" for ".yaml". One that is not there gives an empty lock.
int lock_read(const char *recipe_path, struct lock *ret, struct err *err);
int lock_write(const char *recipe_path, const struct lock *l, struct err *err);

void pairs_add(struct pairs *p, const char *key, const char *value);
const char *pairs_get(const struct pairs *p, const char *key); // NULL when absent
void pairs_clear(struct pairs *p);
void texts_add(struct texts *t, const char *text);
void texts_clear(struct texts *t);
