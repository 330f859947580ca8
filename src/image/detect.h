// What kind of app a directory holds, when its team wrote no manifest.
#pragma once

#include "base/err.h"

struct detected {
	const char *kind;  // "node", "python", "static", "java", "binary"
	char *runtime;     // reference: "node", "node@20", "python@3.11" …, "none"
	const char *stack; // reference: "minimal"
	char *command;     // of the process web; for the runtime's default: NULL
	char *build;       // build command; NULL when none is needed
	char *because;     // one line for people: "package.json has a start script"
};

void detected_clear(struct detected *d);

// What a command needs, by its first word: a known program (python3, node, java, gunicorn, sh …), or a file of dir that is
// a program or a script. Only kind, runtime, stack and because are set; runtime "none" for what needs no other.
// -ENOENT when the word says nothing; -EINVAL for a script whose interpreter nobody has.
int detect_command(const char *dir, const char *command, struct detected *ret, struct err *err);

// Looks at dir only. A Procfile's processes are the caller's business; a Procfile here only says that the command is
// known. -ENOENT when nothing is obvious: the hint says what to add; -EINVAL when something is there but incomplete.
int detect_app(const char *dir, struct detected *ret, struct err *err);
