// Where in the text of a manifest a field of the spec stands.
#include "model/manifest.h"

#include "base/str.h"
#include "model/field.h"
#include "model/tree.h"

#include <errno.h>

// The next step of "processes.web.command": its length; *at goes behind it.
static size_t next_step(const char **at, char *step, size_t size)
{
	size_t n = strcspn(*at, ".");
	snprintf(step, size, "%.*s", (int)n, *at);
	*at += n + ((*at)[n] == '.');
	return n;
}

// What the manifest calls the member of these fields; the step itself when it is a key of the user's.
static const char *manifest_word(const struct fields **fields, bool *in_map, const char *step)
{
	const char *ignored = NULL;
	const struct field *field = *fields && !*in_map ? field_find(*fields, step, false, &ignored) : NULL;
	*fields = *in_map ? *fields : field ? field->of : NULL;
	*in_map = !*in_map && field && field->type == FIELD_MAP;
	return field ? field_human(field) : step;
}

static const struct tree_node *find_node(const struct tree *tree, const char *at)
{
	const struct tree_node *node = tree->count ? &tree->nodes[0] : NULL, *found = NULL;
	const struct fields *fields = &spec_fields;
	bool in_map = false;
	char step[80];
	while (node && next_step(&at, step, sizeof(step))) {
		node = tree_get(tree, node, manifest_word(&fields, &in_map, step));
		found = node ? node : found;
	}
	return found;
}

static int place_in_procfile(const struct manifest_source *source, const char *at, unsigned *ret_line)
{
	char step[80];
	next_step(&at, step, sizeof(step));
	size_t n = str_eq(step, "processes") ? next_step(&at, step, sizeof(step)) : 0;
	unsigned number = 1;
	for (const char *line = source->text; n && line; number++) {
		line += strspn(line, " \t");
		if (strncmp(line, step, n) == 0 && line[n] == ':') {
			*ret_line = number;
			return 0;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return -ENOENT;
}

int manifest_place(const struct manifest_source *source, bool procfile, const char *field, unsigned *ret_line,
		   unsigned *ret_column)
{
	const char *at = str_starts(field, "spec.") ? field + strlen("spec.") : field;
	*ret_column = 1;
	if (procfile)
		return place_in_procfile(source, at, ret_line);
	struct tree tree = { 0 };
	if (tree_parse(source->file, source->text, source->len, &tree, NULL) < 0)
		return -ENOENT;
	const struct tree_node *node = find_node(&tree, at);
	if (node) {
		*ret_line = node->line;
		*ret_column = node->column;
	}
	tree_clear(&tree);
	return node ? 0 : -ENOENT;
}
