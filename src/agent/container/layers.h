// An instance's root file system: layers, shared by all instances, as an overlay that shows them with the instance's
// ids.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct layers {
	const char *const *lower; // directories, top first
	size_t n_lower;
	const char *writable; // directory for changes (upper/, work/), or NULL: read-only. Files in it have the
			      // machine's ids
	uint32_t owner;       // of the root directory when it is writable: uid 0 inside, as the machine sees it
	int identity_fd;      // from identity_userns_open
};

// Mounts at target (an existing directory). hidden: a directory in which layers may be attached while the kernel puts
// them together; kernels before 6.15 need that, and it is empty again afterwards.
int layers_mount(const struct layers *layers, const char *target, const char *hidden, struct err *err);

// Whether layers can lie in this folder: its file system must carry idmapped mounts, which tmpfs, for one, does only from
// Linux 6.3.
int layers_check(const char *folder, struct err *err);

// Detaches whatever is mounted at target, however often. Nothing there is success.
int layers_unmount(const char *target, struct err *err);
