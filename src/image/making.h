// Private to src/image: the steps by which one layer is made in a scratch folder.
#pragma once

#include "image/build.h"
#include "image/recipe.h"

struct making {
	const char *cache;
	const struct layer_recipe *recipe;
	const struct lock_part *lock; // versions to use; NULL: resolve anew
	bool strict;                  // the lock's versions or fail
	const char *const *below;     // layers this one lies over, top first
	size_t n_below;
	const struct image_build_options *options;
	char *scratch; // CACHE/tmp/ID
	char *root;    // SCRATCH/root: the layer
	struct lock_part resolved;
};

void making_say(const struct making *m, const char *fmt, ...) PRINTF_LIKE(2, 3);

// Makes the folders above path (in the layer), those that are missing with mode 755 whatever the umask is.
int making_parent(const struct making *m, const char *path, struct err *err);

// Runs argv (NULL-terminated) in dir with umask 022 and a fixed locale. -EIO with its last lines unless it exits 0.
int making_run(const char *dir, const char *const *argv, unsigned timeout_ms, struct err *err);

// Debian packages of the recipe (and what they need) into root, their dpkg status into root/var/lib/dpkg/status.d.
int making_debian(struct making *m, struct err *err);

// npm packages of the recipe.
int making_npm(struct making *m, struct err *err);

// Everything else: directories, files, links, certificates, commands; then removes what is not to stay.
int making_finish(struct making *m, struct err *err);

// Reads PEM certificates and writes them as a Java keystore (JKS), the same bytes for the same certificates.
int keystore_write(const char *pem_path, const char *to, struct err *err);
