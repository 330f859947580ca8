// Command lines without a shell: split into words, $NAME expanded later from the final environment.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct words {
	char **items; // not terminated by NULL
	uint32_t count;
};

void words_clear(struct words *words);

// Splits as sh does: blanks, '…', "…", backslash. In the words "$$" stands for a dollar sign and $NAME is left for
// command_expand, so a quoted '$X' comes out as "$$X".
// Shell operators ( | & ; < > ( ) $( ` * and a line break ), NAME=value in front and shell builtins (cd, exec, export,
// source, .) are refused (-EOPNOTSUPP, with a hint that says what to write instead), unless shell is true: then such a
// line becomes { "/bin/sh", "-c", line }, with its dollars doubled. Other mistakes are -EINVAL.
// At most 32 KiB and 1000 words.
int command_split(const char *line, bool shell, struct words *ret, struct err *err);

// Expands $NAME, ${NAME} and ${NAME:-fallback}; "$$" becomes "$"; any other '$' stays. lookup returns NULL for a name
// that is not set; without a fallback that is an error (-ENOENT). The result is at most 1 MiB in all (-E2BIG).
typedef const char *(*command_lookup)(void *arg, const char *name);
int command_expand(const char *const *words, uint32_t count, command_lookup lookup, void *arg, struct words *ret,
		   struct err *err);
