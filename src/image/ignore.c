#include "image/ignore.h"

#include "base/buf.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>

#define IGNORE_FILE_MAX (1u << 20)

struct pattern {
	char *glob;
	bool negated, dirs_only, anchored;
};

struct ignore {
	const struct ignore *parent;
	size_t base; // length of this directory's path with its "/", to be skipped in what is matched
	struct pattern *patterns;
	size_t n;
};

// "[a-z]", "[!x]"; *at stands behind "["; false also when it is not closed.
static bool match_class(const char **at, char c)
{
	const char *p = *at;
	bool negated = *p == '!' || *p == '^', found = false;
	if (negated)
		p++;
	for (bool first = true; *p && (first || *p != ']'); first = false, p++) {
		if (*p == '\\' && p[1])
			p++;
		char low = *p, high = *p;
		if (p[1] == '-' && p[2] && p[2] != ']') {
			high = p[2];
			p += 2;
		}
		found |= (unsigned char)c >= (unsigned char)low && (unsigned char)c <= (unsigned char)high;
	}
	if (*p != ']')
		return false;
	*at = p + 1;
	return c != '/' && found != negated;
}

static bool match_double_star(const char *pattern, const char *path)
{
	// "**/" stands for any number of whole folders, also none; "/**" at the end for everything below.
	if (pattern[2] == '/') {
		for (const char *p = path; p; p = strchr(p, '/'), p = p ? p + 1 : NULL)
			if (ignore_glob(pattern + 3, p))
				return true;
		return false;
	}
	return *path != '\0';
}

bool ignore_glob(const char *pattern, const char *path)
{
	bool at_start = true;
	while (*pattern) {
		bool whole = at_start && str_starts(pattern, "**") && (!pattern[2] || pattern[2] == '/');
		if (whole)
			return match_double_star(pattern, path);
		at_start = *pattern == '/';
		if (*pattern == '*') {
			while (*pattern == '*')
				pattern++;
			for (;; path++) {
				if (ignore_glob(pattern, path))
					return true;
				if (!*path || *path == '/')
					return false;
			}
		}
		if (!*path)
			return false;
		if (*pattern == '?') {
			if (*path == '/')
				return false;
			pattern++;
		} else if (*pattern == '[') {
			pattern++;
			if (!match_class(&pattern, *path))
				return false;
		} else {
			if (*pattern == '\\' && pattern[1])
				pattern++;
			if (*pattern++ != *path)
				return false;
		}
		path++;
	}
	return !*path;
}

static void strip_trailing_blanks(char *line)
{
	size_t n = strlen(line);
	while (n && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r')) {
		if (n > 1 && line[n - 2] == '\\')
			break;
		line[--n] = '\0';
	}
}

static void add_pattern(struct ignore *g, char *line)
{
	strip_trailing_blanks(line);
	if (!*line || *line == '#')
		return;
	struct pattern p = { 0 };
	if (*line == '!') {
		p.negated = true;
		line++;
	}
	size_t n = strlen(line);
	if (n && line[n - 1] == '/') {
		p.dirs_only = true;
		line[--n] = '\0';
	}
	p.anchored = strchr(line, '/') != NULL;
	if (*line == '/')
		line++;
	if (!*line)
		return;
	p.glob = xstrdup(line);
	g->patterns = xreallocarray(g->patterns, g->n + 1, sizeof(*g->patterns));
	g->patterns[g->n++] = p;
}

static int read_patterns(int dirfd, const char *name, struct ignore *g, struct err *err)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : err_set_errno(err, -errno, "cannot read %s", name);
	AUTO_BUF struct buf text = BUF_INIT(IGNORE_FILE_MAX);
	for (;;) {
		char *room;
		if (buf_reserve(&text, 4096, &room) < 0)
			return err_set(err, -E2BIG, "%s is larger than 1 MiB", name);
		ssize_t got = read(fd, room, 4096);
		if (got < 0 && errno == EISDIR)
			return 0;
		if (got < 0)
			return err_set_errno(err, -errno, "cannot read %s", name);
		if (got == 0)
			break;
		buf_commit(&text, (size_t)got);
	}
	AUTO_FREE char *lines = buf_take(&text);
	for (char *at = lines; at;)
		add_pattern(g, strsep(&at, "\n"));
	return 0;
}

int ignore_read(int dirfd, const char *path, const struct ignore *parent, struct ignore **ret, struct err *err)
{
	struct ignore *g = xcalloc(1, sizeof(*g));
	g->parent = parent;
	g->base = *path ? strlen(path) + 1 : 0;
	int r = read_patterns(dirfd, ".gitignore", g, err);
	if (r == 0)
		r = read_patterns(dirfd, ".dialtoneignore", g, err);
	if (r < 0) {
		ignore_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void ignore_free(struct ignore *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n; i++)
		free(g->patterns[i].glob);
	free(g->patterns);
	free(g);
}

bool ignore_matches(const struct ignore *g, const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	for (; g; g = g->parent)
		for (size_t i = g->n; i-- > 0;) {
			const struct pattern *p = &g->patterns[i];
			if (p->dirs_only && !is_dir)
				continue;
			if (ignore_glob(p->glob, p->anchored ? path + g->base : name))
				return !p->negated;
		}
	return false;
}
