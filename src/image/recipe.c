#include "image/recipe.h"

#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <yaml.h>

#define RECIPE_MAX (256u << 10)

void keyed_add(struct keyed *p, const char *key, const char *value)
{
	p->items = xreallocarray(p->items, p->n + 1, sizeof(*p->items));
	p->items[p->n++] = (struct keyed_item){ xstrdup(key), xstrdup(value) };
}

const char *keyed_get(const struct keyed *p, const char *key)
{
	for (size_t i = 0; i < p->n; i++)
		if (str_eq(p->items[i].key, key))
			return p->items[i].value;
	return NULL;
}

void keyed_clear(struct keyed *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->items[i].key);
		free(p->items[i].value);
	}
	free(p->items);
	*p = (struct keyed){ 0 };
}

void lines_add(struct lines *t, const char *text)
{
	t->items = xreallocarray(t->items, t->n + 1, sizeof(*t->items));
	t->items[t->n++] = xstrdup(text);
}

void lines_clear(struct lines *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->items[i]);
	free(t->items);
	*t = (struct lines){ 0 };
}

static void layer_recipe_clear(struct layer_recipe *l)
{
	lines_clear(&l->packages);
	lines_clear(&l->without);
	for (size_t i = 0; i < l->n_npm; i++) {
		free(l->npm[i].name);
		free(l->npm[i].version);
		keyed_clear(&l->npm[i].take);
	}
	free(l->npm);
	lines_clear(&l->directories);
	keyed_clear(&l->files);
	keyed_clear(&l->links);
	lines_clear(&l->drop);
	lines_clear(&l->run);
	free(l->certificates);
	free(l->keystore);
	keyed_clear(&l->env);
}

void recipe_clear(struct recipe *r)
{
	free(r->path);
	free(r->name);
	free(r->version);
	free(r->version_of);
	free(r->about);
	free(r->command);
	free(r->over);
	free(r->build_over);
	free(r->text);
	layer_recipe_clear(&r->layer);
	layer_recipe_clear(&r->build);
	*r = (struct recipe){ 0 };
}

struct reading {
	yaml_document_t doc;
	const char *path;
	struct err *err;
};

static int fault(struct reading *in, const yaml_node_t *node, const char *what, const char *which)
{
	return err_set(in->err, -EINVAL, "%s:%zu:%zu: %s%s%s", in->path, node->start_mark.line + 1,
		       node->start_mark.column + 1, what, which ? ": " : "", which ? which : "");
}

static int read_text(struct reading *in, const yaml_node_t *node, char **ret)
{
	if (node->type != YAML_SCALAR_NODE)
		return fault(in, node, "a text is expected here", NULL);
	if (memchr(node->data.scalar.value, '\0', node->data.scalar.length))
		return fault(in, node, "NUL byte", NULL);
	free(*ret);
	*ret = xstrndup((const char *)node->data.scalar.value, node->data.scalar.length);
	return 0;
}

static int read_texts(struct reading *in, const yaml_node_t *node, struct lines *ret)
{
	if (node->type != YAML_SEQUENCE_NODE)
		return fault(in, node, "a list is expected here", NULL);
	yaml_node_item_t *item = node->data.sequence.items.start;
	for (; item < node->data.sequence.items.top; item++) {
		AUTO_FREE char *text = NULL;
		int r = read_text(in, yaml_document_get_node(&in->doc, *item), &text);
		if (r < 0)
			return r;
		lines_add(ret, text);
	}
	return 0;
}

static int read_pairs(struct reading *in, const yaml_node_t *node, struct keyed *ret)
{
	if (node->type != YAML_MAPPING_NODE)
		return fault(in, node, "names with values are expected here", NULL);
	yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	for (; pair < node->data.mapping.pairs.top; pair++) {
		AUTO_FREE char *key = NULL, *value = NULL;
		int r = read_text(in, yaml_document_get_node(&in->doc, pair->key), &key);
		if (r == 0)
			r = read_text(in, yaml_document_get_node(&in->doc, pair->value), &value);
		if (r < 0)
			return r;
		keyed_add(ret, key, value);
	}
	return 0;
}

// A mapping's keys, each given to the one field that has its name.
struct key {
	const char *name;
	int (*read)(struct reading *in, const yaml_node_t *node, void *to);
	size_t offset;
};

static int unknown_key(struct reading *in, const yaml_node_t *node, const char *name, const struct key *keys, size_t n)
{
	AUTO_FREE const char **names = xcalloc(n, sizeof(*names));
	AUTO_BUF struct buf list = BUF_INIT(1024);
	for (size_t i = 0; i < n; i++) {
		names[i] = keys[i].name;
		buf_addf(&list, "%s%s", i ? ", " : "", names[i]);
	}
	const char *nearest = str_nearest(name, names, n);
	fault(in, node, "unknown key", name);
	return nearest ? err_hint(in->err, "did you mean '%s'?", nearest)
		       : err_hint(in->err, "possible here: %s", buf_str(&list));
}

static int read_keys(struct reading *in, const yaml_node_t *node, const struct key *keys, size_t n, void *to)
{
	if (node->type != YAML_MAPPING_NODE)
		return fault(in, node, "names with values are expected here", NULL);
	yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	for (; pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key_node = yaml_document_get_node(&in->doc, pair->key);
		AUTO_FREE char *name = NULL;
		int r = read_text(in, key_node, &name);
		if (r < 0)
			return r;
		size_t i = 0;
		while (i < n && !str_eq(keys[i].name, name))
			i++;
		if (i == n)
			return unknown_key(in, key_node, name, keys, n);
		r = keys[i].read(in, yaml_document_get_node(&in->doc, pair->value), (char *)to + keys[i].offset);
		if (r < 0)
			return r;
	}
	return 0;
}

static int key_text(struct reading *in, const yaml_node_t *node, void *to)
{
	return read_text(in, node, to);
}

static int key_texts(struct reading *in, const yaml_node_t *node, void *to)
{
	return read_texts(in, node, to);
}

static int key_pairs(struct reading *in, const yaml_node_t *node, void *to)
{
	return read_pairs(in, node, to);
}

static int key_bool(struct reading *in, const yaml_node_t *node, void *to)
{
	AUTO_FREE char *text = NULL;
	int r = read_text(in, node, &text);
	if (r == 0 && !str_eq(text, "true") && !str_eq(text, "false"))
		return fault(in, node, "true or false is expected here", NULL);
	if (r == 0)
		*(bool *)to = str_eq(text, "true");
	return r;
}

static int key_kind(struct reading *in, const yaml_node_t *node, void *to)
{
	AUTO_FREE char *text = NULL;
	int r = read_text(in, node, &text);
	if (r == 0 && !str_eq(text, "stack") && !str_eq(text, "runtime"))
		return fault(in, node, "kind is stack or runtime", NULL);
	if (r == 0)
		*(enum image_kind *)to = str_eq(text, "stack") ? IMAGE_STACK : IMAGE_RUNTIME;
	return r;
}

static const struct key npm_keys[] = {
	{ "name", key_text, offsetof(struct npm_package, name) },
	{ "version", key_text, offsetof(struct npm_package, version) },
	{ "take", key_pairs, offsetof(struct npm_package, take) },
};

static int key_npm(struct reading *in, const yaml_node_t *node, void *to)
{
	struct layer_recipe *l = to;
	if (node->type != YAML_SEQUENCE_NODE)
		return fault(in, node, "a list is expected here", NULL);
	yaml_node_item_t *item = node->data.sequence.items.start;
	for (; item < node->data.sequence.items.top; item++) {
		l->npm = xreallocarray(l->npm, l->n_npm + 1, sizeof(*l->npm));
		struct npm_package *p = &l->npm[l->n_npm++];
		*p = (struct npm_package){ 0 };
		const yaml_node_t *package = yaml_document_get_node(&in->doc, *item);
		int r = read_keys(in, package, npm_keys, ARRAY_LEN(npm_keys), p);
		if (r < 0)
			return r;
		if (str_empty(p->name) || *p->name == '-' || str_empty(p->version) || !p->take.n)
			return fault(in, package, "an npm package needs name, version and take", NULL);
	}
	return 0;
}

#define LAYER_KEYS(part)                                                                                               \
	{ "packages", key_texts, offsetof(struct recipe, part.packages) },                                             \
		{ "without", key_texts, offsetof(struct recipe, part.without) },                                       \
		{ "npm", key_npm, offsetof(struct recipe, part) },                                                     \
		{ "directories", key_texts, offsetof(struct recipe, part.directories) },                               \
		{ "files", key_pairs, offsetof(struct recipe, part.files) },                                           \
		{ "links", key_pairs, offsetof(struct recipe, part.links) },                                           \
		{ "drop", key_texts, offsetof(struct recipe, part.drop) },                                             \
		{ "run", key_texts, offsetof(struct recipe, part.run) },                                               \
		{ "certificates", key_text, offsetof(struct recipe, part.certificates) },                              \
		{ "keystore", key_text, offsetof(struct recipe, part.keystore) },                                      \
	{                                                                                                              \
		"env", key_pairs, offsetof(struct recipe, part.env)                                                    \
	}

static const struct key build_keys[] = {
	{ "over", key_text, offsetof(struct recipe, build_over) },
	LAYER_KEYS(build),
};

static int key_build(struct reading *in, const yaml_node_t *node, void *to)
{
	return read_keys(in, node, build_keys, ARRAY_LEN(build_keys), to);
}

static const struct key recipe_keys[] = {
	{ "kind", key_kind, offsetof(struct recipe, kind) },
	{ "name", key_text, offsetof(struct recipe, name) },
	{ "version", key_text, offsetof(struct recipe, version) },
	{ "version-of", key_text, offsetof(struct recipe, version_of) },
	{ "about", key_text, offsetof(struct recipe, about) },
	{ "over", key_text, offsetof(struct recipe, over) },
	{ "command", key_text, offsetof(struct recipe, command) },
	{ "shell", key_bool, offsetof(struct recipe, has_shell) },
	{ "build", key_build, 0 },
	LAYER_KEYS(layer),
};

static bool plain_package(const char *name)
{
	if (*name < '0')
		return false;
	return !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789+-.")];
}

static int check_layer(const struct layer_recipe *l, const char *path, struct err *err)
{
	for (size_t i = 0; i < l->packages.n; i++)
		if (!plain_package(l->packages.items[i]))
			return err_set(err, -EINVAL, "%s: '%s' is not the name of a Debian package", path,
				       l->packages.items[i]);
	for (size_t i = 0; i < l->without.n; i++)
		if (!plain_package(l->without.items[i]))
			return err_set(err, -EINVAL, "%s: '%s' is not the name of a Debian package", path,
				       l->without.items[i]);
	return 0;
}

static bool is_reference(const char *ref)
{
	AUTO_FREE char *name = NULL, *version = NULL;
	return image_ref_parse(ref, &name, &version, NULL) == 0;
}

bool layer_recipe_is_empty(const struct layer_recipe *l)
{
	return !l->packages.n && !l->n_npm && !l->directories.n && !l->files.n && !l->links.n;
}

static int nothing_in(const struct recipe *r, struct err *err)
{
	err_set(err, -EINVAL, "%s: puts nothing into the stack", r->path);
	return err_hint(err, "give it 'over' (another stack), or some of packages, npm, directories, files and links");
}

static int check_recipe(const struct recipe *r, struct err *err)
{
	if (!str_is_label(r->name ? r->name : ""))
		return err_set(err, -EINVAL, "%s: name must be 1 to 63 of a-z, 0-9 and '-'", r->path);
	if (str_empty(r->version) == str_empty(r->version_of))
		return err_set(err, -EINVAL, "%s: either version or version-of must be given", r->path);
	if (r->version && (strspn(r->version, "0123456789.") != strlen(r->version) || *r->version == '.'))
		return err_set(err, -EINVAL, "%s: version must be digits and dots, not '%s'", r->path, r->version);
	if (r->over && !is_reference(r->over))
		return err_set(err, -EINVAL, "%s: over must name a stack, or NAME@VERSION, not '%s'", r->path, r->over);
	if (r->kind == IMAGE_RUNTIME && !r->over)
		return err_set(err, -EINVAL, "%s: a runtime lies over a stack; name it with over", r->path);
	if (r->kind == IMAGE_STACK && r->build_over)
		return err_set(err, -EINVAL, "%s: only runtimes have a build part", r->path);
	if (r->build_over && !is_reference(r->build_over))
		return err_set(err, -EINVAL, "%s: build.over must name a stack, or NAME@VERSION, not '%s'", r->path,
			       r->build_over);
	int code = check_layer(&r->layer, r->path, err);
	if (code == 0)
		code = check_layer(&r->build, r->path, err);
	bool empty = r->kind == IMAGE_STACK && !r->over && layer_recipe_is_empty(&r->layer);
	return code == 0 && empty ? nothing_in(r, err) : code;
}

static int load(struct reading *in, const char *text, size_t n)
{
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser))
		return err_set(in->err, -ENOMEM, "%s: out of memory", in->path);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
	int r = 0;
	if (!yaml_parser_load(&parser, &in->doc))
		r = err_set(in->err, -EINVAL, "%s:%zu:%zu: %s", in->path, parser.problem_mark.line + 1,
			    parser.problem_mark.column + 1, parser.problem ? parser.problem : "not YAML");
	yaml_parser_delete(&parser);
	return r;
}

int recipe_read(const char *path, struct recipe *ret, struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(RECIPE_MAX);
	int r = file_read(path, &text, err);
	if (r < 0)
		return r;
	struct reading in = { .path = path, .err = err };
	r = load(&in, buf_data(&text), buf_len(&text));
	if (r < 0)
		return r;
	CLEANUP(recipe_clear) struct recipe recipe = { .path = xstrdup(path) };
	const yaml_node_t *top = yaml_document_get_root_node(&in.doc);
	r = top ? read_keys(&in, top, recipe_keys, ARRAY_LEN(recipe_keys), &recipe)
		: err_set(err, -EINVAL, "%s: empty", path);
	yaml_document_delete(&in.doc);
	if (r == 0)
		r = check_recipe(&recipe, err);
	if (r < 0)
		return r;
	recipe.text = buf_take(&text);
	*ret = recipe;
	recipe = (struct recipe){ 0 };
	return 0;
}
