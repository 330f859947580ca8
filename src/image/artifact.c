#include "image/artifact.h"

#include "base/buf.h"
#include "base/str.h"
#include "image/artifact-text.h"
#include "image/paths.h"

#include <assert.h>
#include <errno.h>

#define DEPTH_MAX 128
#define PART_MAX 255

void artifact_clear(struct artifact *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free(a->entries[i].path);
		free(a->entries[i].target);
	}
	free(a->entries);
	free(a->text);
	*a = (struct artifact){ 0 };
}

const char *artifact_path_fault(const char *path)
{
	if (!*path)
		return "empty path";
	if (*path == '/')
		return "absolute path";
	if (strlen(path) > ARTIFACT_PATH_MAX)
		return "path longer than 1024 bytes";

	unsigned depth = 0;
	for (const char *part = path;;) {
		size_t n = strcspn(part, "/");
		if (n == 0)
			return "empty part in the path";
		if (n > PART_MAX)
			return "name longer than 255 bytes";
		if (part[0] == '.' && n == 1)
			return "'.' in the path";
		if (part[0] == '.' && part[1] == '.' && n == 2)
			return "'..' in the path";
		if (n == 4 && memcmp(part, ".git", 4) == 0)
			return "'.git' in the path";
		if (++depth > DEPTH_MAX)
			return "more than 128 folders deep";
		if (!part[n])
			return NULL;
		part += n + 1;
	}
}

static unsigned count_folders(const char *path)
{
	unsigned n = 0;
	for (; *path; path++)
		n += *path == '/';
	return n;
}

// ".." is allowed only at the front: the folders above a link are real ones, so what they lead to is known; behind a
// name, which may itself be a link, it is not.
bool artifact_link_inside(const char *path, const char *target)
{
	if (!*target || *target == '/' || strlen(target) > ARTIFACT_PATH_MAX)
		return false;
	unsigned folders = count_folders(path);
	while (str_starts(target, "../") || str_eq(target, "..")) {
		if (folders-- == 0)
			return false;
		target += target[2] ? 3 : 2;
	}
	for (;;) {
		size_t n = strcspn(target, "/");
		if (n == 2 && target[0] == '.' && target[1] == '.')
			return false;
		if (!target[n])
			return true;
		target += n + 1;
	}
}

int artifact_write_text(struct artifact *a, struct err *err)
{
	if (a->n > ARTIFACT_ENTRIES_MAX)
		return err_set(err, -E2BIG, "%zu files; an artifact holds at most %d", a->n, ARTIFACT_ENTRIES_MAX);
	AUTO_BUF struct buf out = BUF_INIT(SIZE_MAX);
	a->bytes = 0;
	for (size_t i = 0; i < a->n && buf_len(&out) <= ARTIFACT_TEXT_MAX; i++) {
		const struct artifact_entry *e = &a->entries[i];
		if (e->kind == ARTIFACT_FILE) {
			buf_addf(&out, "F %o %s %llu ", e->mode, e->digest, (unsigned long long)e->size);
			a->bytes += e->size;
		} else if (e->kind == ARTIFACT_LINK) {
			buf_add_str(&out, "L ");
			path_escape(&out, e->target);
			buf_add_str(&out, " ");
		} else {
			buf_add_str(&out, "D ");
		}
		path_escape(&out, e->path);
		buf_add_str(&out, "\n");
	}
	if (buf_len(&out) > ARTIFACT_TEXT_MAX)
		return err_set(err, -E2BIG, "the list of files is longer than %u bytes", ARTIFACT_TEXT_MAX);
	if (a->bytes > ARTIFACT_BYTES_MAX)
		return err_set(err, -E2BIG, "%llu bytes; an artifact holds at most %llu", (unsigned long long)a->bytes,
			       ARTIFACT_BYTES_MAX);
	free(a->text);
	a->text_len = buf_len(&out);
	a->text = buf_take(&out);
	digest_of(a->text, a->text_len, a->digest);
	return 0;
}

static const char *parse_file(char **fields, struct artifact_entry *e)
{
	if (!str_eq(fields[1], "644") && !str_eq(fields[1], "755"))
		return "mode is neither 644 nor 755";
	e->mode = fields[1][0] == '6' ? 0644 : 0755;
	if (!digest_valid(fields[2]))
		return "malformed digest";
	memcpy(e->digest, fields[2], DIGEST_SIZE);
	if ((fields[3][0] == '0' && fields[3][1]) || parse_u64(fields[3], ARTIFACT_BYTES_MAX, &e->size) < 0)
		return "malformed size";
	return NULL;
}

static const char *parse_link(char **fields, struct artifact_entry *e)
{
	e->target = path_unescape(fields[1]);
	if (!e->target)
		return "malformed link target";
	return artifact_link_inside(e->path, e->target) ? NULL : "link that leads out";
}

// Cuts line at its spaces. The number of fields is fixed by the first.
static const char *parse_line(char *line, struct artifact_entry *e)
{
	char *fields[6] = { 0 };
	size_t n = 0;
	for (char *p = line; p && n < ARRAY_LEN(fields);)
		fields[n++] = strsep(&p, " ");

	size_t want = str_eq(fields[0], "F") ? 5 : str_eq(fields[0], "L") ? 3 : str_eq(fields[0], "D") ? 2 : 0;
	if (!want)
		return "unknown kind of entry";
	if (n != want)
		return "wrong number of fields";
	e->path = path_unescape(fields[n - 1]);
	if (!e->path)
		return "malformed path";
	const char *fault = artifact_path_fault(e->path);
	if (fault)
		return fault;
	e->kind = want == 5 ? ARTIFACT_FILE : want == 3 ? ARTIFACT_LINK : ARTIFACT_DIR;
	return want == 5 ? parse_file(fields, e) : want == 3 ? parse_link(fields, e) : NULL;
}

static int compare_path(const void *key, const void *entry)
{
	return strcmp(key, ((const struct artifact_entry *)entry)->path);
}

// No entry lies inside another: files and links have nothing below them, and directories that do are not listed.
static const char *inside_another(const struct artifact *a, size_t at)
{
	AUTO_FREE char *path = xstrdup(a->entries[at].path);
	const char *before = at ? a->entries[at - 1].path : "";
	size_t shared = 0;
	while (path[shared] && path[shared] == before[shared])
		shared++;
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		if ((size_t)(slash - path) < shared)
			continue; // also a folder of the entry before: looked at there
		*slash = '\0';
		const struct artifact_entry *e = bsearch(path, a->entries, a->n, sizeof(*e), compare_path);
		*slash = '/';
		if (e)
			return e->path;
	}
	return NULL;
}

int artifact_check_nesting(const struct artifact *a, struct err *err)
{
	for (size_t i = 0; i < a->n; i++) {
		const char *outer = inside_another(a, i);
		if (outer)
			return err_set(err, -EBADMSG, "'%s' lies inside '%s', which is listed itself",
				       a->entries[i].path, outer);
	}
	return 0;
}

static int add_line(struct artifact *a, char *line, size_t number, size_t *size, struct err *err)
{
	if (a->n == ARTIFACT_ENTRIES_MAX)
		return err_set(err, -E2BIG, "line %zu: more than %d entries", number, ARTIFACT_ENTRIES_MAX);
	if (a->n == *size) {
		*size = *size ? *size * 2 : 64;
		a->entries = xreallocarray(a->entries, *size, sizeof(*a->entries));
	}
	struct artifact_entry *e = &a->entries[a->n++];
	*e = (struct artifact_entry){ 0 };
	const char *fault = parse_line(line, e);
	if (fault)
		return err_set(err, -EBADMSG, "line %zu: %s%s%s", number, fault, e->path ? ": " : "",
			       e->path ? e->path : "");
	int order = a->n > 1 ? strcmp(e[-1].path, e->path) : -1;
	if (order >= 0)
		return err_set(err, -EBADMSG, "line %zu: %s: %s", number, order ? "not in order" : "listed twice",
			       e->path);
	if (a->bytes + e->size > ARTIFACT_BYTES_MAX)
		return err_set(err, -E2BIG, "line %zu: more than %llu bytes in all", number, ARTIFACT_BYTES_MAX);
	a->bytes += e->size;
	return 0;
}

int artifact_parse(const char *text, size_t n, struct artifact *ret, struct err *err)
{
	if (n > ARTIFACT_TEXT_MAX)
		return err_set(err, -E2BIG, "artifact manifest: longer than %u bytes", ARTIFACT_TEXT_MAX);
	if (memchr(text, '\0', n) || (n && text[n - 1] != '\n'))
		return err_set(err, -EBADMSG, "artifact manifest: %s",
			       n && text[n - 1] != '\n' ? "last line is cut" : "NUL byte");

	CLEANUP(artifact_clear) struct artifact a = { 0 };
	AUTO_FREE char *copy = xstrndup(text, n);
	size_t size = 0, number = 1;
	for (char *at = copy; *at; number++) {
		char *line = strsep(&at, "\n");
		int r = add_line(&a, line, number, &size, err);
		if (r < 0)
			return err_wrap(err, "artifact manifest");
	}
	int r = artifact_check_nesting(&a, err);
	if (r < 0)
		return err_wrap(err, "artifact manifest");
	a.text = xstrndup(text, n);
	a.text_len = n;
	digest_of(text, n, a.digest);
	*ret = a;
	a = (struct artifact){ 0 };
	return 0;
}

void build_cache_key(const char *artifact, const char *command, const char *const *layers, size_t n_layers,
		     char key[DIGEST_SIZE])
{
	struct digest *d = digest_new();
	static const char form[] = "dialtone build 1";
	digest_add(d, form, sizeof(form));
	digest_add(d, artifact, strlen(artifact) + 1);
	digest_add(d, command, strlen(command) + 1);
	for (size_t i = 0; i < n_layers; i++)
		digest_add(d, layers[i], strlen(layers[i]) + 1);
	digest_finish(d, key);
}
