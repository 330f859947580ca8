#include "model/fields.h"

#include "base/id.h"
#include "base/str.h"
#include "model/field.h"

static const struct field env_value_items[] = {
	FIELD(pair, value, FIELD_TEXT, REQUIRED, 0, 32 << 10),
};
const struct fields env_value_fields = FIELDS(pair, env_value_items, "EnvironmentValue", .bare = true);

static const struct field count_items[] = {
	FIELD(count, value, FIELD_U32, REQUIRED, 0, UINT32_MAX),
};
const struct fields count_fields = FIELDS(count, count_items, "Count", .bare = true);

static const struct field word_items[] = {
	{ .name = "word", .type = FIELD_TEXT, .flags = REQUIRED, .max = 32 << 10 },
};
const struct fields word_fields = {
	.name = "Word", .items = word_items, .count = 1, .size = sizeof(char *), .bare = true
};

static const struct field digest_items[] = {
	{ .name = "digest", .type = FIELD_TEXT, .flags = REQUIRED, .max = DIGEST_SIZE, .check = check_digest },
};
const struct fields digest_fields = {
	.name = "Digest", .items = digest_items, .count = 1, .size = sizeof(char *), .bare = true
};

const char *check_digest(const char *text)
{
	return digest_valid(text) ? NULL : "must be \"sha256:\" and 64 lower-case hex digits";
}

const char *check_env_name(const char *text)
{
	static const char wrong[] = "must be made of letters, digits and '_', and not begin with a digit";
	if (!*text || strlen(text) > 128 || (*text >= '0' && *text <= '9'))
		return wrong;
	for (const char *c = text; *c; c++)
		if (!((*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_'))
			return wrong;
	return NULL;
}

const char *pairs_get(const struct pair *pairs, uint32_t count, const char *name)
{
	for (uint32_t low = 0, high = count; low < high;) {
		uint32_t middle = low + (high - low) / 2;
		int order = strcmp(name, pairs[middle].name);
		if (!order)
			return pairs[middle].value;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

void fields_init(const struct fields *fields, void *object)
{
	memset(object, 0, fields->size);
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		if (field->type == FIELD_OBJECT)
			fields_init(field->of, field_at(field, object));
		else if (field_is_scalar(field) && field->type != FIELD_TEXT && field->type != FIELD_LABEL)
			field_store(field, object, field->preset);
	}
}

static void clear_elements(const struct field *field, void *object)
{
	uint32_t count = *field_count(field, object);
	for (uint32_t i = 0; i < count; i++) {
		void *element = field_element(field, object, i);
		if (field->type == FIELD_MAP)
			free(*(char **)element);
		fields_clear(field->of, element);
	}
	free(*(void **)field_at(field, object));
}

static void clear_pointer(const struct field *field, void *object)
{
	void *inner = *(void **)field_at(field, object);
	if (inner)
		fields_clear(field->of, inner);
	free(inner);
}

void fields_clear(const struct fields *fields, void *object)
{
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		switch (field->type) {
		case FIELD_TEXT:
		case FIELD_LABEL:
			free(*(char **)field_at(field, object));
			break;
		case FIELD_OBJECT:
			fields_clear(field->of, field_at(field, object));
			break;
		case FIELD_POINTER:
			clear_pointer(field, object);
			break;
		case FIELD_ARRAY:
		case FIELD_MAP:
			clear_elements(field, object);
			break;
		case FIELD_ANY:
			json_decref(*(json_t **)field_at(field, object));
			break;
		default:
			break;
		}
	}
	memset(object, 0, fields->size);
}

static void copy_elements(const struct field *field, const void *from, void *to)
{
	uint32_t count = *field_count(field, from);
	char **items = field_at(field, to);
	*items = NULL;
	*field_count(field, to) = 0;
	for (uint32_t i = 0; i < count; i++) {
		const void *element = field_element(field, from, i);
		void *copy = field_grow(field, to);
		fields_copy(field->of, element, copy);
		if (field->type == FIELD_MAP)
			*(char **)copy = xstrdup(*(char *const *)element);
	}
}

static void copy_pointer(const struct field *field, const void *from, void *to)
{
	const void *inner = *(void **)field_at(field, from);
	void *copy = NULL;
	if (inner) {
		copy = xcalloc(1, field->of->size);
		fields_copy(field->of, inner, copy);
	}
	*(void **)field_at(field, to) = copy;
}

static void copy_text(const struct field *field, const void *from, void *to)
{
	const char *text = *(char **)field_at(field, from);
	*(char **)field_at(field, to) = text ? xstrdup(text) : NULL;
}

void fields_copy(const struct fields *fields, const void *from, void *to)
{
	memset(to, 0, fields->size);
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		switch (field->type) {
		case FIELD_TEXT:
		case FIELD_LABEL:
			copy_text(field, from, to);
			break;
		case FIELD_OBJECT:
			fields_copy(field->of, field_at(field, from), field_at(field, to));
			break;
		case FIELD_POINTER:
			copy_pointer(field, from, to);
			break;
		case FIELD_ARRAY:
		case FIELD_MAP:
			copy_elements(field, from, to);
			break;
		case FIELD_ANY:
			*(json_t **)field_at(field, to) = json_deep_copy(*(json_t **)field_at(field, from));
			break;
		default:
			field_store(field, to, field_number(field, from));
		}
	}
}

bool fields_equal(const struct fields *fields, const void *a, const void *b)
{
	AUTO_JSON json_t *left = fields_write(fields, a);
	AUTO_JSON json_t *right = fields_write(fields, b);
	return json_equal(left, right);
}
