#include "model/manifest.h"

#include "base/str.h"
#include "model/field.h"
#include "model/settle.h"
#include "model/tree.h"
#include "model/units.h"

#include <errno.h>
#include <stdarg.h>

struct reader {
	const char *file;
	const struct tree *tree;
	char path[256];        // in manifest words
	struct process shared; // health, drain and restart given for all processes
	struct err *err;
};

static int read_object(struct reader *reader, const struct fields *fields, const struct tree_node *node, void *object);

static int fail(struct reader *reader, const struct tree_node *node, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int fail(struct reader *reader, const struct tree_node *node, const char *fmt, ...)
{
	char text[640];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return err_set(reader->err, -EINVAL, "%s:%u:%u: %s%s%s", reader->file, node->line, node->column, reader->path,
		       *reader->path ? ": " : "", text);
}

static size_t path_push(struct reader *reader, const char *step)
{
	size_t n = strlen(reader->path);
	snprintf(reader->path + n, sizeof(reader->path) - n, "%s%.64s", n ? "." : "", step);
	return n;
}

static const struct tree_node *item(const struct reader *reader, const struct tree_node *node, uint32_t i)
{
	return &reader->tree->nodes[node->items[i]];
}

// What other platforms call the same thing.
static const struct {
	const char *theirs, *ours;
} synonyms[] = {
	{ "replicas", "instances" }, { "count", "instances" },    { "mem", "memory" },         { "ram", "memory" },
	{ "cpus", "cpu" },           { "disk_quota", "disk" },    { "environment", "env" },    { "variables", "env" },
	{ "buildpack", "runtime" },  { "buildpacks", "runtime" }, { "language", "runtime" },   { "cmd", "command" },
	{ "start", "command" },      { "run", "command" },        { "healthcheck", "health" }, { "check", "health" },
	{ "domains", "routes" },     { "hosts", "routes" },       { "services", "processes" }, { "image", "stack" },
	{ "grace_period", "grace" }, { "drain_time", "drain" },   { "endpoint", "path" },
};

// The key of these fields that this one most likely means, or NULL.
static const char *meant(const struct fields *fields, const char *key)
{
	const char *ignored = NULL;
	const struct field *field = field_find(fields, key, true, &ignored);
	for (size_t i = 0; !field && i < ARRAY_LEN(synonyms); i++)
		if (str_eq(synonyms[i].theirs, key))
			field = field_find(fields, synonyms[i].ours, true, &ignored);
	return field ? field_human(field) : NULL;
}

static int unknown_key(struct reader *reader, const struct fields *fields, const struct tree_node *key,
		       const char *nearest)
{
	fail(reader, key, "unknown key");
	const char *ours = meant(fields, key->text);
	if (ours || nearest)
		return err_hint(reader->err, "did you mean '%s'?", ours ? ours : nearest);
	ours = meant(&process_fields, key->text);
	if (fields == &spec_fields && ours)
		return err_hint(reader->err, "it goes under a process: processes.web.%s", ours);
	ours = meant(&spec_fields, key->text);
	if (fields == &process_fields && ours)
		return err_hint(reader->err, "'%s' goes to the top level, not under a process", ours);
	char list[256] = "";
	for (uint32_t i = 0; i < fields->count; i++) {
		size_t n = strlen(list);
		snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "", field_human(&fields->items[i]));
	}
	return err_hint(reader->err, "possible here: %s", list);
}

static int wrong_kind(struct reader *reader, const struct tree_node *node, const char *wanted)
{
	return fail(reader, node, "must be %s, is %s", wanted, tree_kind_name(node));
}

static int read_whole(struct reader *reader, const struct tree_node *node, uint64_t *ret)
{
	int r = parse_u64(node->text, INT64_MAX, ret);
	if (r == -ERANGE)
		return fail(reader, node, "'%.40s' is too large", node->text);
	if (r < 0)
		return fail(reader, node, "must be a whole number, is '%.40s'", node->text);
	return 0;
}

static int read_measure(struct reader *reader, const struct field *field, const struct tree_node *node, uint64_t *ret)
{
	struct err cause = { 0 };
	uint32_t small = 0;
	int r = field->type == FIELD_BYTES ? parse_bytes(node->text, ret, &cause)
		: field->type == FIELD_MS  ? parse_duration(node->text, &small, &cause)
					   : parse_cpu(node->text, &small, &cause);
	if (r < 0) {
		fail(reader, node, "%s", cause.text);
		return *cause.hint ? err_hint(reader->err, "%s", cause.hint) : -EINVAL;
	}
	if (field->type != FIELD_BYTES)
		*ret = small;
	return 0;
}

static int read_number(struct reader *reader, const struct field *field, const struct tree_node *node, void *object)
{
	bool measure = field->type == FIELD_BYTES || field->type == FIELD_MS || field->type == FIELD_CPU;
	uint64_t value = 0;
	int r = measure ? read_measure(reader, field, node, &value) : read_whole(reader, node, &value);
	if (r < 0)
		return r;
	char why[FIELD_WHY_SIZE];
	return field_set_number(field, object, value, why) < 0 ? fail(reader, node, "%s", why) : 0;
}

static int read_text(struct reader *reader, const struct field *field, const struct tree_node *node, void *object)
{
	char why[FIELD_WHY_SIZE];
	const char *nearest = NULL;
	int r = field->type == FIELD_ENUM ? field_set_enum(field, object, node->text, why, &nearest)
					  : field_set_text(field, object, node->text, why);
	if (r < 0)
		fail(reader, node, "%s", why);
	return nearest ? err_hint(reader->err, "did you mean '%s'?", nearest) : r;
}

static int read_scalar(struct reader *reader, const struct field *field, const struct tree_node *node, void *object)
{
	if (tree_is_null(node)) {
		fail(reader, node, "has no value");
		return err_hint(reader->err, "leave the key out, or write \"\" for an empty text");
	}
	if (node->kind != TREE_TEXT) {
		wrong_kind(reader, node, field->type == FIELD_TEXT ? "one text" : "one value");
		if (str_eq(field->name, "command"))
			return err_hint(reader->err, "write the command as one line; quotes keep words together");
		return -EINVAL;
	}
	if (field->type == FIELD_TEXT || field->type == FIELD_LABEL || field->type == FIELD_ENUM)
		return read_text(reader, field, node, object);
	if (field->type != FIELD_BOOL)
		return read_number(reader, field, node, object);
	if (!str_eq(node->text, "true") && !str_eq(node->text, "false"))
		return fail(reader, node, "must be true or false");
	field_store(field, object, str_eq(node->text, "true"));
	return 0;
}

static int read_list(struct reader *reader, const struct field *field, const struct tree_node *node, void *object)
{
	if (node->kind != TREE_LIST)
		return wrong_kind(reader, node, "a list");
	for (uint32_t i = 0; i < node->count; i++) {
		const struct tree_node *value = item(reader, node, i);
		char why[FIELD_WHY_SIZE];
		void *element = field_append(field, object, NULL, why);
		if (!element)
			return fail(reader, value, "%s", why);
		int r = read_object(reader, field->of, value, element);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_map(struct reader *reader, const struct field *field, const struct tree_node *node, void *object)
{
	if (tree_is_null(node))
		return 0;
	if (node->kind != TREE_MAPPING) {
		wrong_kind(reader, node, "a mapping");
		return err_hint(reader->err, "write NAME: value, one a line");
	}
	for (uint32_t i = 0; i < node->count; i += 2) {
		const struct tree_node *key = item(reader, node, i);
		char why[FIELD_WHY_SIZE];
		size_t n = path_push(reader, key->text);
		void *element = field_append(field, object, key->text, why);
		if (!element)
			return fail(reader, key, "%s", why);
		int r = read_object(reader, field->of, item(reader, node, i + 1), element);
		if (r < 0)
			return r;
		reader->path[n] = '\0';
	}
	field_sort(field, object);
	return 0;
}

static int read_value(struct reader *reader, const struct field *field, const struct tree_node *node, void *object)
{
	switch (field->type) {
	case FIELD_OBJECT:
		return read_object(reader, field->of, node, field_at(field, object));
	case FIELD_ARRAY:
		return read_list(reader, field, node, object);
	case FIELD_MAP:
		return read_map(reader, field, node, object);
	default:
		return read_scalar(reader, field, node, object);
	}
}

// A spec's mapping may also hold what is meant for all of its processes.
static const struct field *find_shared(const struct fields *fields, const char *name)
{
	const char *ignored = NULL;
	const struct field *field = fields == &spec_fields ? field_find(&process_fields, name, true, &ignored) : NULL;
	return field && (field->flags & INHERITED) ? field : NULL;
}

static int read_member(struct reader *reader, const struct fields *fields, const struct tree_node *key,
		       const struct tree_node *value, void *object)
{
	const char *nearest = NULL;
	const struct field *field = field_find(fields, key->text, true, &nearest);
	size_t n = path_push(reader, key->text);
	if (!field && find_shared(fields, key->text)) {
		reader->path[n] = '\0'; // read already
		return 0;
	}
	if (str_eq(key->text, "<<")) {
		fail(reader, key, "merge keys are not understood here");
		return err_hint(reader->err, "health, drain and restart at the top level are for all processes");
	}
	if (!field)
		return unknown_key(reader, fields, key, nearest);
	int r = read_value(reader, field, value, object);
	if (r >= 0)
		reader->path[n] = '\0';
	return r;
}

static int check_required(struct reader *reader, const struct fields *fields, const struct tree_node *node,
			  const void *object)
{
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		if (!(field->flags & REQUIRED) || !field_is_default(field, object))
			continue;
		path_push(reader, field_human(field));
		return fail(reader, node, "is missing");
	}
	return 0;
}

// Checks across fields; the error is placed at the key it names, or at the object.
static int finish(struct reader *reader, const struct fields *fields, const struct tree_node *node, void *object)
{
	struct field_path path = { "" };
	struct err cause = { 0 };
	if (!fields->finish || fields->finish(object, &path, &cause) >= 0)
		return 0;
	const char *ignored = NULL;
	const struct field *field = *path.text ? field_find(fields, path.text, false, &ignored) : NULL;
	const struct tree_node *at = field ? tree_get(reader->tree, node, field_human(field)) : NULL;
	if (field)
		path_push(reader, field_human(field));
	fail(reader, at ? at : node, "%s", cause.text);
	return *cause.hint ? err_hint(reader->err, "%s", cause.hint) : -EINVAL;
}

// Health given for all processes is about those that listen; the others keep its times.
static void inherit(struct reader *reader, const struct tree_node *node, struct process *process)
{
	process_settle_port(process);
	if (process->port || tree_get(reader->tree, node, "health"))
		return;
	process->health.type = HEALTH_AUTO;
	free(TAKE_PTR(process->health.path));
}

static int read_members(struct reader *reader, const struct fields *fields, const struct tree_node *node, void *object)
{
	for (uint32_t i = 0; i < node->count; i += 2) {
		int r = read_member(reader, fields, item(reader, node, i), item(reader, node, i + 1), object);
		if (r < 0)
			return r;
	}
	return 0;
}

static void take_shared(const struct reader *reader, struct process *process)
{
	fields_clear(&health_fields, &process->health);
	fields_copy(&health_fields, &reader->shared.health, &process->health);
	process->drain_ms = reader->shared.drain_ms;
	process->restart = reader->shared.restart;
}

static int read_text_form(struct reader *reader, const struct fields *fields, const struct tree_node *node,
			  void *object)
{
	if (fields->from_text) {
		const char *wrong = fields->from_text(object, node->text);
		return wrong ? fail(reader, node, "'%.64s' %s", node->text, wrong) : 0;
	}
	const char *ignored = NULL;
	const struct field *field = field_find(fields, fields->shorthand, true, &ignored);
	return read_scalar(reader, field, node, object);
}

static int read_object(struct reader *reader, const struct fields *fields, const struct tree_node *node, void *object)
{
	if (fields->bare)
		return read_value(reader, &fields->items[0], node, object);
	if (fields == &process_fields)
		take_shared(reader, object);
	int r = 0;
	bool text_form = node->kind == TREE_TEXT && (fields->from_text || fields->shorthand);
	if (node->kind == TREE_MAPPING)
		r = read_members(reader, fields, node, object);
	else if (text_form && !tree_is_null(node))
		r = read_text_form(reader, fields, node, object);
	else if (!tree_is_null(node))
		r = wrong_kind(reader, node, "a mapping");
	if (r < 0)
		return r;
	if (fields == &process_fields)
		inherit(reader, node, object);
	r = check_required(reader, fields, node, object);
	return r < 0 ? r : finish(reader, fields, node, object);
}

static int read_shared(struct reader *reader, const struct tree_node *root)
{
	fields_init(&process_fields, &reader->shared);
	for (uint32_t i = 0; i < root->count; i += 2) {
		const struct tree_node *key = item(reader, root, i);
		const struct field *field = find_shared(&spec_fields, key->text);
		if (!field)
			continue;
		size_t n = path_push(reader, key->text);
		int r = read_value(reader, field, item(reader, root, i + 1), &reader->shared);
		if (r < 0)
			return r;
		reader->path[n] = '\0';
	}
	return 0;
}

static int read_spec(struct reader *reader, const struct manifest_source *source, struct spec *spec)
{
	static const struct tree_node nothing = { .kind = TREE_MAPPING, .line = 1, .column = 1 };
	const struct tree_node *root = reader->tree->count ? &reader->tree->nodes[0] : &nothing;
	if (tree_is_null(root))
		root = &nothing;
	if (root->kind != TREE_MAPPING)
		return wrong_kind(reader, root, "a mapping of keys like name, runtime and processes");
	int r = read_shared(reader, root);
	if (r < 0)
		return r;
	r = read_members(reader, &spec_fields, root, spec);
	if (r < 0)
		return r;
	r = spec_settle_name(spec, source, reader->err);
	if (r < 0)
		return r;
	spec_settle(spec, tree_get(reader->tree, root, "routes"));
	return finish(reader, &spec_fields, root, spec);
}

int manifest_parse(const struct manifest_source *source, struct spec *ret, struct err *err)
{
	struct err unread;
	if (!err)
		err = &unread;
	if (source->len > MANIFEST_SIZE_MAX)
		return err_set(err, -E2BIG, "%s: larger than %d KiB", source->file, MANIFEST_SIZE_MAX >> 10);
	CLEANUP(tree_clear) struct tree tree = { 0 };
	int r = tree_parse(source->file, source->text, source->len, &tree, err);
	if (r < 0)
		return r;
	struct reader reader = { .file = source->file, .tree = &tree, .err = err };
	struct spec spec;
	fields_init(&spec_fields, &spec);
	r = read_spec(&reader, source, &spec);
	fields_clear(&process_fields, &reader.shared);
	if (r < 0) {
		spec_clear(&spec);
		return r;
	}
	*ret = spec;
	return 0;
}
