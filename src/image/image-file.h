// Private to src/image: the files that describe built stacks and runtimes.
#pragma once

#include "image/stack.h"

// CACHE/stacks/NAME; name NULL: CACHE/stacks. Caller frees.
char *image_folder(const char *cache, enum image_kind kind, const char *name);

// made_from: digest over everything the image was made from. ret_made_from may be NULL.
int image_file_read(const char *path, enum image_kind kind, struct image *ret, char **ret_made_from, struct err *err);
int image_file_write(const char *cache, const struct image *i, const char *made_from, struct err *err);
