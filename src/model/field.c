#include "model/field.h"

#include "base/str.h"
#include "model/units.h"

#include <assert.h>
#include <errno.h>

bool field_is_scalar(const struct field *field)
{
	return field->type <= FIELD_ENUM;
}

uint64_t field_number(const struct field *field, const void *object)
{
	const void *at = field_at(field, object);
	switch (field->type) {
	case FIELD_BOOL:
		return *(const bool *)at;
	case FIELD_U32:
	case FIELD_MS:
	case FIELD_CPU:
	case FIELD_ENUM:
		return *(const uint32_t *)at;
	case FIELD_U64:
	case FIELD_BYTES:
	case FIELD_TIME:
		return *(const uint64_t *)at;
	default:
		assert(!"a number");
		return 0;
	}
}

void field_store(const struct field *field, void *object, uint64_t value)
{
	void *at = field_at(field, object);
	switch (field->type) {
	case FIELD_BOOL:
		*(bool *)at = value;
		break;
	case FIELD_U32:
	case FIELD_MS:
	case FIELD_CPU:
	case FIELD_ENUM:
		*(uint32_t *)at = (uint32_t)value;
		break;
	case FIELD_U64:
	case FIELD_BYTES:
	case FIELD_TIME:
		*(uint64_t *)at = value;
		break;
	default:
		assert(!"a number");
	}
}

static void number_text(enum field_type type, uint64_t value, char text[UNIT_TEXT_SIZE])
{
	if (type == FIELD_BYTES)
		bytes_text(value, text);
	else if (type == FIELD_MS)
		duration_text(value, text);
	else if (type == FIELD_CPU)
		cpu_text((uint32_t)value, text);
	else
		snprintf(text, UNIT_TEXT_SIZE, "%llu", (unsigned long long)value);
}

int field_set_number(const struct field *field, void *object, uint64_t value, char why[FIELD_WHY_SIZE])
{
	if (field->type != FIELD_BOOL && (value < field->min || value > field->max)) {
		char low[UNIT_TEXT_SIZE], high[UNIT_TEXT_SIZE], is[UNIT_TEXT_SIZE];
		number_text(field->type, field->min, low);
		number_text(field->type, field->max, high);
		number_text(field->type, value, is);
		snprintf(why, FIELD_WHY_SIZE, "must be between %s and %s, is %s", low, high, is);
		return -EINVAL;
	}
	field_store(field, object, value);
	return 0;
}

int field_set_text(const struct field *field, void *object, const char *text, char why[FIELD_WHY_SIZE])
{
	size_t n = strlen(text);
	if (field->type == FIELD_LABEL && !str_is_label(text)) {
		snprintf(why, FIELD_WHY_SIZE, "must be 1 to 63 of a-z, 0-9 and '-' (not at either end)");
		return -EINVAL;
	}
	if (n < field->min) {
		snprintf(why, FIELD_WHY_SIZE, n ? "is too short" : "must not be empty");
		return -EINVAL;
	}
	if (n > field->max) {
		snprintf(why, FIELD_WHY_SIZE, "must be at most %llu bytes long, has %zu",
			 (unsigned long long)field->max, n);
		return -EINVAL;
	}
	const char *wrong = field->check ? field->check(text) : NULL;
	if (wrong) {
		snprintf(why, FIELD_WHY_SIZE, "%s", wrong);
		return -EINVAL;
	}
	char **at = field_at(field, object);
	free(*at);
	*at = xstrdup(text);
	return 0;
}

#define NAMES_MAX 32

int field_set_enum(const struct field *field, void *object, const char *name, char why[FIELD_WHY_SIZE],
		   const char **ret_nearest)
{
	const char *known[NAMES_MAX];
	size_t count = 0;
	char list[FIELD_WHY_SIZE - 32] = "";
	for (uint32_t i = 0; field->names[i]; i++) {
		if (!*field->names[i])
			continue;
		if (str_eq(field->names[i], name)) {
			field_store(field, object, i);
			return 0;
		}
		assert(count < NAMES_MAX);
		known[count++] = field->names[i];
		size_t used = strlen(list);
		snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "", field->names[i]);
	}
	snprintf(why, FIELD_WHY_SIZE, "must be one of %s", list);
	*ret_nearest = str_nearest(name, known, count);
	return -EINVAL;
}

void *field_grow(const struct field *field, void *object)
{
	char **items = field_at(field, object);
	uint32_t *count = field_count(field, object);
	if ((*count & (*count - 1)) == 0) // at 0 and at each power of two
		*items = xreallocarray(*items, *count ? (size_t)*count * 2 : 1, field->of->size);
	void *element = *items + (size_t)(*count)++ * field->of->size;
	fields_init(field->of, element);
	return element;
}

void *field_append(const struct field *field, void *object, const char *key, char why[FIELD_WHY_SIZE])
{
	if (*field_count(field, object) >= field->max) {
		snprintf(why, FIELD_WHY_SIZE, "has more than %llu entries", (unsigned long long)field->max);
		return NULL;
	}
	const char *wrong = key && field->check ? field->check(key) : NULL;
	if (wrong) {
		snprintf(why, FIELD_WHY_SIZE, "this name %s", wrong);
		return NULL;
	}
	void *element = field_grow(field, object);
	if (key)
		*(char **)element = xstrdup(key);
	return element;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void field_sort(const struct field *field, void *object)
{
	uint32_t count = *field_count(field, object);
	if (count)
		qsort(*(void **)field_at(field, object), count, field->of->size, by_key);
}

#define FIELDS_MAX 64

const struct field *field_find(const struct fields *fields, const char *name, bool human, const char **ret_nearest)
{
	const char *known[FIELDS_MAX];
	assert(fields->count <= FIELDS_MAX);
	for (uint32_t i = 0; i < fields->count; i++) {
		known[i] = human ? field_human(&fields->items[i]) : fields->items[i].name;
		if (str_eq(known[i], name))
			return &fields->items[i];
	}
	*ret_nearest = str_nearest(name, known, fields->count);
	return NULL;
}

bool field_is_default(const struct field *field, const void *object)
{
	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_LABEL:
	case FIELD_POINTER:
	case FIELD_ANY:
		return !*(void **)field_at(field, object);
	case FIELD_ARRAY:
	case FIELD_MAP:
		return !*field_count(field, object);
	case FIELD_OBJECT:
		for (uint32_t i = 0; i < field->of->count; i++)
			if (!field_is_default(&field->of->items[i], field_at(field, object)))
				return false;
		return true;
	default:
		return field_number(field, object) == field->preset;
	}
}

char *field_text(const struct field *field, const void *object)
{
	assert(field_is_scalar(field));
	if (field->type == FIELD_TEXT || field->type == FIELD_LABEL) {
		const char *text = *(char **)field_at(field, object);
		return text ? xstrdup(text) : NULL;
	}
	uint64_t value = field_number(field, object);
	if (field->type == FIELD_BOOL)
		return xstrdup(value ? "true" : "false");
	if (field->type == FIELD_ENUM)
		return xstrdup(field->names[value]);
	char text[UNIT_TEXT_SIZE];
	number_text(field->type, value, text);
	return xstrdup(text);
}

char *fields_identity(const struct fields *fields, const void *element)
{
	char *all = xstrdup("");
	for (uint32_t i = 0; i < fields->count; i++) {
		if (!fields->bare && !(fields->items[i].flags & IDENTITY))
			continue;
		AUTO_FREE char *before = all;
		AUTO_FREE char *part = field_text(&fields->items[i], element);
		all = xasprintf("%s%s", before, part ? part : "");
	}
	return all;
}
