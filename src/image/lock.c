#include "image/recipe.h"

#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>

#define LOCK_MAX (1u << 20)

static void part_clear(struct lock_part *p)
{
	keyed_clear(&p->debian);
	keyed_clear(&p->npm);
	p->layer[0] = '\0';
}

void recipe_lock_clear(struct recipe_lock *l)
{
	part_clear(&l->main);
	part_clear(&l->build);
}

static char *lock_path(const char *recipe_path)
{
	size_t n = strlen(recipe_path);
	if (str_ends(recipe_path, ".yaml"))
		n -= 5;
	return xasprintf("%.*s.lock", (int)n, recipe_path);
}

// "[build] debian NAME VERSION", "[build] npm NAME VERSION DIGEST", "[build] layer DIGEST"
static const char *parse_line(struct recipe_lock *l, char *line)
{
	char *fields[6] = { 0 };
	size_t n = 0;
	for (char *p = line; p && n < ARRAY_LEN(fields);)
		fields[n++] = strsep(&p, " ");
	bool build = str_eq(fields[0], "build");
	struct lock_part *part = build ? &l->build : &l->main;
	char **f = fields + build;
	n -= build;
	if (n == 3 && str_eq(f[0], "debian")) {
		keyed_add(&part->debian, f[1], f[2]);
	} else if (n == 4 && str_eq(f[0], "npm") && digest_valid(f[3])) {
		AUTO_FREE char *value = xasprintf("%s %s", f[2], f[3]);
		keyed_add(&part->npm, f[1], value);
	} else if (n == 2 && str_eq(f[0], "layer") && digest_valid(f[1])) {
		memcpy(part->layer, f[1], DIGEST_SIZE);
	} else {
		return "not a line of a lock";
	}
	return NULL;
}

int recipe_lock_read(const char *recipe_path, struct recipe_lock *ret, struct err *err)
{
	AUTO_FREE char *path = lock_path(recipe_path);
	AUTO_BUF struct buf text = BUF_INIT(LOCK_MAX);
	*ret = (struct recipe_lock){ 0 };
	int r = file_read(path, &text, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	AUTO_FREE char *lines = buf_take(&text);
	size_t number = 1;
	for (char *at = lines; at; number++) {
		char *line = strsep(&at, "\n");
		const char *fault = *line && *line != '#' ? parse_line(ret, line) : NULL;
		if (fault) {
			recipe_lock_clear(ret);
			return err_set(err, -EINVAL, "%s:%zu: %s", path, number, fault);
		}
	}
	return 0;
}

static void write_part(struct buf *out, const struct lock_part *p, const char *prefix)
{
	for (size_t i = 0; i < p->debian.n; i++)
		buf_addf(out, "%sdebian %s %s\n", prefix, p->debian.items[i].key, p->debian.items[i].value);
	for (size_t i = 0; i < p->npm.n; i++)
		buf_addf(out, "%snpm %s %s\n", prefix, p->npm.items[i].key, p->npm.items[i].value);
	if (p->layer[0])
		buf_addf(out, "%slayer %s\n", prefix, p->layer);
}

int recipe_lock_write(const char *recipe_path, const struct recipe_lock *l, struct err *err)
{
	AUTO_FREE char *path = lock_path(recipe_path);
	AUTO_BUF struct buf out = BUF_INIT(LOCK_MAX);
	buf_add_str(&out, "# What the recipe beside this was last resolved to. Written by --update-lock.\n");
	write_part(&out, &l->main, "");
	write_part(&out, &l->build, "build ");
	return file_write_durable(path, buf_data(&out), buf_len(&out), 0644, err);
}
