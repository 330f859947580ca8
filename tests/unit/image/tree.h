// Folders for tests: made below /tmp, removed at the end.
#pragma once

// cmocka needs these before it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "io/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static inline char *tree_new(void)
{
	char *path = xstrdup("/tmp/dialtone-image-XXXXXX");
	assert_non_null(mkdtemp(path));
	return path;
}

static inline void cleanup_tree(char **path)
{
	tree_remove(*path, NULL);
	free(*path);
}
#define AUTO_TREE CLEANUP(cleanup_tree)

static inline char *tree_at(const char *tree, const char *name)
{
	return xasprintf("%s/%s", tree, name);
}

static inline void tree_dir(const char *tree, const char *name)
{
	AUTO_FREE char *path = tree_at(tree, name);
	struct err err = { 0 };
	assert_int_equal(dir_make(path, 0755, &err), 0);
}

static inline void tree_file(const char *tree, const char *name, const char *text, mode_t mode)
{
	AUTO_FREE char *path = tree_at(tree, name);
	AUTO_FREE char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct err err = { 0 };
	assert_int_equal(dir_make(dir, 0755, &err), 0);
	assert_int_equal(file_write_atomic(path, text, strlen(text), mode, &err), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static inline void tree_link(const char *tree, const char *name, const char *target)
{
	AUTO_FREE char *path = tree_at(tree, name);
	assert_int_equal(symlink(target, path), 0);
}

static inline char *tree_text(const char *tree, const char *name)
{
	AUTO_FREE char *path = tree_at(tree, name);
	AUTO_BUF struct buf text = BUF_INIT(64 << 20);
	struct err err = { 0 };
	assert_int_equal(file_read(path, &text, &err), 0);
	return buf_take(&text);
}

static inline void assert_says(const struct err *err, const char *part)
{
	if (!strstr(err->text, part))
		fail_msg("'%s' does not say '%s'", err->text, part);
}
