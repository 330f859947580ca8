#include "model/field.h"

#include "base/str.h"

#include <errno.h>
#include <stdarg.h>

struct parse {
	enum fields_mode mode;
	struct field_path path;
	struct err *err;
};

static int fail(struct parse *parse, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int parse_object(struct parse *parse, const struct fields *fields, const json_t *json, void *object);

static int fail(struct parse *parse, const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	const char *path = parse->path.text;
	return err_set(parse->err, -EINVAL, "%s%s%s", path, *path ? ": " : "", text);
}

// Appends a step to the path; the caller cuts it off again at the length returned.
static size_t path_push(struct parse *parse, const char *fmt, ...) PRINTF_LIKE(2, 3);
static size_t path_push(struct parse *parse, const char *fmt, ...)
{
	size_t n = strlen(parse->path.text);
	va_list args;
	va_start(args, fmt);
	vsnprintf(parse->path.text + n, sizeof(parse->path.text) - n, fmt, args);
	va_end(args);
	return n;
}

static const char *dot(const struct parse *parse)
{
	return *parse->path.text ? "." : "";
}

static const char *json_kind(const json_t *json)
{
	static const char *const kinds[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",    [JSON_STRING] = "a text",
		[JSON_INTEGER] = "a number", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",      [JSON_NULL] = "null",
	};
	return kinds[json_typeof(json)];
}

static const char *wanted_kind(enum field_type type)
{
	static const char *const kinds[] = {
		[FIELD_TEXT] = "a text",
		[FIELD_LABEL] = "a text",
		[FIELD_BOOL] = "true or false",
		[FIELD_U32] = "a whole number",
		[FIELD_U64] = "a whole number",
		[FIELD_BYTES] = "a whole number of bytes",
		[FIELD_MS] = "a whole number of milliseconds",
		[FIELD_CPU] = "a whole number of thousandths of a core",
		[FIELD_TIME] = "a whole number of milliseconds since 1970",
		[FIELD_ENUM] = "a text",
		[FIELD_OBJECT] = "an object",
		[FIELD_POINTER] = "an object",
		[FIELD_ARRAY] = "a list",
		[FIELD_MAP] = "an object",
	};
	return kinds[type];
}

static int wrong_type(struct parse *parse, const struct field *field, const json_t *json)
{
	return fail(parse, "must be %s, is %s", wanted_kind(field->type), json_kind(json));
}

static int parse_text(struct parse *parse, const struct field *field, const json_t *json, void *object)
{
	if (!json_is_string(json))
		return wrong_type(parse, field, json);
	char why[FIELD_WHY_SIZE];
	const char *nearest = NULL;
	int r = field->type == FIELD_ENUM ? field_set_enum(field, object, json_string_value(json), why, &nearest)
					  : field_set_text(field, object, json_string_value(json), why);
	if (r < 0)
		r = fail(parse, "%s", why);
	if (r < 0 && nearest)
		err_hint(parse->err, "did you mean '%s'?", nearest);
	return r;
}

static int parse_number(struct parse *parse, const struct field *field, const json_t *json, void *object)
{
	if (!json_is_integer(json))
		return wrong_type(parse, field, json);
	if (json_integer_value(json) < 0)
		return fail(parse, "must not be negative");
	char why[FIELD_WHY_SIZE];
	if (field_set_number(field, object, (uint64_t)json_integer_value(json), why) < 0)
		return fail(parse, "%s", why);
	return 0;
}

static int parse_array(struct parse *parse, const struct field *field, const json_t *json, void *object)
{
	if (!json_is_array(json))
		return wrong_type(parse, field, json);
	size_t i;
	json_t *value;
	json_array_foreach(json, i, value)
	{
		char why[FIELD_WHY_SIZE];
		void *element = field_append(field, object, NULL, why);
		if (!element)
			return fail(parse, "%s", why);
		size_t n = path_push(parse, "[%zu]", i);
		int r = parse_object(parse, field->of, value, element);
		if (r < 0)
			return r;
		parse->path.text[n] = '\0';
	}
	if (*field_count(field, object) < field->min)
		return fail(parse, "must have at least %llu %s", (unsigned long long)field->min,
			    field->min == 1 ? "entry" : "entries");
	return 0;
}

static int parse_map(struct parse *parse, const struct field *field, const json_t *json, void *object)
{
	if (!json_is_object(json))
		return wrong_type(parse, field, json);
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)json, key, value)
	{
		char why[FIELD_WHY_SIZE];
		size_t n = path_push(parse, "%s%s", dot(parse), key);
		void *element = field_append(field, object, key, why);
		if (!element)
			return fail(parse, "%s", why);
		int r = parse_object(parse, field->of, value, element);
		if (r < 0)
			return r;
		parse->path.text[n] = '\0';
	}
	field_sort(field, object);
	return 0;
}

static int parse_pointer(struct parse *parse, const struct field *field, const json_t *json, void *object)
{
	if (json_is_null(json))
		return 0;
	void *inner = *(void **)field_at(field, object) = xcalloc(1, field->of->size);
	return parse_object(parse, field->of, json, inner);
}

static int parse_value(struct parse *parse, const struct field *field, const json_t *json, void *object)
{
	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_LABEL:
		if (json_is_null(json) && (field->flags & OPTIONAL))
			return 0;
		return parse_text(parse, field, json, object);
	case FIELD_ENUM:
		return parse_text(parse, field, json, object);
	case FIELD_BOOL:
		if (!json_is_boolean(json))
			return wrong_type(parse, field, json);
		field_store(field, object, json_is_true(json));
		return 0;
	case FIELD_OBJECT:
		return parse_object(parse, field->of, json, field_at(field, object));
	case FIELD_POINTER:
		return parse_pointer(parse, field, json, object);
	case FIELD_ARRAY:
		return parse_array(parse, field, json, object);
	case FIELD_MAP:
		return parse_map(parse, field, json, object);
	case FIELD_ANY:
		*(json_t **)field_at(field, object) = json_deep_copy(json);
		return 0;
	default:
		return parse_number(parse, field, json, object);
	}
}

static int refuse_unknown(struct parse *parse, const struct fields *fields, const json_t *json)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)json, key, value)
	{
		const char *nearest = NULL;
		if (field_find(fields, key, false, &nearest))
			continue;
		const char *ignored = NULL;
		const struct field *human = field_find(fields, key, true, &ignored); // as a manifest says it
		path_push(parse, "%s%s", dot(parse), key);
		int r = fail(parse, "unknown key");
		nearest = human ? human->name : nearest;
		return nearest ? err_hint(parse->err, "did you mean '%s'?", nearest) : r;
	}
	return 0;
}

static int finish(struct parse *parse, const struct fields *fields, void *object)
{
	struct field_path relative = { "" };
	struct err cause = { 0 };
	if (!fields->finish || fields->finish(object, &relative, &cause) >= 0)
		return 0;
	if (*relative.text)
		path_push(parse, "%s%s", dot(parse), relative.text);
	int r = fail(parse, "%s", cause.text);
	return *cause.hint ? err_hint(parse->err, "%s", cause.hint) : r;
}

// object is at its defaults or (inside a list) freshly zeroed with its key set.
static int parse_members(struct parse *parse, const struct fields *fields, const json_t *json, void *object)
{
	if (parse->mode == FIELDS_STRICT && refuse_unknown(parse, fields, json) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		const json_t *value = json_object_get(json, field->name);
		size_t n = path_push(parse, "%s%s", dot(parse), field->name);
		int r = 0;
		if (value)
			r = parse_value(parse, field, value, object);
		else if (field->flags & REQUIRED)
			r = fail(parse, "is missing");
		if (r < 0)
			return r;
		parse->path.text[n] = '\0';
	}
	return 0;
}

static int parse_object(struct parse *parse, const struct fields *fields, const json_t *json, void *object)
{
	if (fields->bare)
		return parse_value(parse, &fields->items[0], json, object);
	if (!json_is_object(json))
		return fail(parse, "must be an object, is %s", json_kind(json));
	int r = parse_members(parse, fields, json, object);
	return r < 0 ? r : finish(parse, fields, object);
}

int fields_parse(const struct fields *fields, const json_t *json, enum fields_mode mode, void *object,
		 struct field_path *ret_path, struct err *err)
{
	struct parse parse = { .mode = mode, .err = err };
	AUTO_FREE void *temporary = xcalloc(1, fields->size);
	fields_init(fields, temporary);
	int r = parse_object(&parse, fields, json, temporary);
	if (r < 0) {
		fields_clear(fields, temporary);
		if (ret_path)
			*ret_path = parse.path;
		return -EINVAL;
	}
	memcpy(object, temporary, fields->size);
	return 0;
}

int fields_parse_text(const struct fields *fields, const void *bytes, size_t n, void *object, struct err *err)
{
	AUTO_JSON json_t *json = NULL;
	int r = json_from_bytes(bytes, n, &json, err);
	if (r < 0)
		return r;
	return fields_parse(fields, json, FIELDS_LENIENT, object, NULL, err);
}
