// Private to src/image.
#pragma once

// The recipe of a stack in SHARE/stacks. -ENOENT: none of that name and version, or no such folder. *ret: malloc'd.
int recipe_of_stack(const char *share, const char *ref, char **ret);
