// Artifacts: what an app team made, as canonical text. One line an entry, sorted by path bytes, each ended by "\n":
//
//   D PATH                        a directory without entries (other directories follow from what is in them)
//   F MODE sha256:HEX SIZE PATH   a file; MODE is 644 or 755
//   L TARGET PATH                 a symbolic link; TARGET is relative and stays inside
//
// In PATH and TARGET every byte outside printable ASCII, and '%', is written %XX (upper case); no other byte is.
// An artifact's digest is the sha256 of the text, so two directories with the same content have the same digest.
// Everything here blocks; callable from any thread.
#pragma once

#include "base/err.h"
#include "base/id.h"

#include <stdbool.h>
#include <stdint.h>

#define ARTIFACT_TEXT_MAX (64u << 20)
#define ARTIFACT_ENTRIES_MAX 250000
#define ARTIFACT_PATH_MAX 1024          // bytes of one path, unescaped; 255 of one of its parts
#define ARTIFACT_BYTES_MAX (8ull << 30) // all files together

enum artifact_kind { ARTIFACT_DIR, ARTIFACT_FILE, ARTIFACT_LINK };

struct artifact_entry {
	enum artifact_kind kind;
	unsigned mode;            // files: 0644 or 0755
	uint64_t size;            // files
	char digest[DIGEST_SIZE]; // files
	char *path;
	char *target; // links
};

struct artifact {
	struct artifact_entry *entries;
	size_t n;
	uint64_t bytes; // sum of the files' sizes
	char *text;     // canonical, NUL-terminated
	size_t text_len;
	char digest[DIGEST_SIZE]; // of text
};

void artifact_clear(struct artifact *a); // zeroed is fine
#define AUTO_ARTIFACT CLEANUP(artifact_clear)

// Strict: what artifact_pack would not write is refused with its line. -EBADMSG for malformed text, -E2BIG for limits.
int artifact_parse(const char *text, size_t n, struct artifact *ret, struct err *err);

struct pack_options {
	bool no_ignore;             // take everything except .git (for what a build made)
	const char *const *without; // paths below dir that are not taken, ends with NULL; NULL: none
	void (*progress)(void *arg, size_t files, uint64_t bytes); // while reading; may be NULL
	void *arg;
};

// Reads directory dir (every file once, for its digest). .gitignore and .dialtoneignore at every level are honoured as
// gitignore(5) says, .dialtoneignore after .gitignore; .git is never taken. Refused by name: links that lead out,
// sockets, devices, names that are not representable. options may be NULL.
int artifact_pack(const char *dir, const struct pack_options *options, struct artifact *ret, struct err *err);

// Reads dir/app of an unpacked artifact again and names the first file that is missing, extra or different: -EBADMSG.
int artifact_verify(const struct artifact *a, const char *root, struct err *err);

// True when a relative link at path to target stays inside the tree that path is relative to.
bool artifact_link_inside(const char *path, const char *target);

// NULL when path can be an entry's path ("a/b", no empty part, no "." or "..", limits kept); else the reason.
const char *artifact_path_fault(const char *path);

// The key of a build's result: everything that it depends on. layers: runtime, build parts and stack, top first.
void build_cache_key(const char *artifact, const char *command, const char *const *layers, size_t n_layers,
		     char key[DIGEST_SIZE]);
