#include "model/field.h"

#include "base/str.h"

#include <assert.h>

static json_t *write_value(const struct field *field, const void *object);

static json_t *write_object(const struct fields *fields, const void *object)
{
	if (fields->bare)
		return write_value(&fields->items[0], object);
	json_t *json = json_object();
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		if ((field->flags & HIDDEN) && field_is_default(field, object))
			continue;
		json_t *value = write_value(field, object);
		if (value)
			json_object_set_new(json, field->name, value);
	}
	return json;
}

static json_t *write_array(const struct field *field, const void *object)
{
	json_t *json = json_array();
	for (uint32_t i = 0; i < *field_count(field, object); i++)
		json_array_append_new(json, write_object(field->of, field_element(field, object, i)));
	return json;
}

static json_t *write_map(const struct field *field, const void *object)
{
	json_t *json = json_object();
	for (uint32_t i = 0; i < *field_count(field, object); i++) {
		const void *element = field_element(field, object, i);
		json_object_set_new(json, *(char *const *)element, write_object(field->of, element));
	}
	return json;
}

// Texts from outside the platform (output lines, reports) may not be UTF-8: the bytes at fault become '?'.
static json_t *write_text(const char *text)
{
	json_t *json = json_string(text);
	if (json)
		return json;
	AUTO_FREE char *plain = xstrdup(text);
	for (char *c = plain; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(plain);
}

// NULL: to be left out.
static json_t *write_value(const struct field *field, const void *object)
{
	const void *at = field_at(field, object);
	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_LABEL:
		return *(char *const *)at ? write_text(*(char *const *)at) : NULL;
	case FIELD_BOOL:
		return json_boolean(field_number(field, object));
	case FIELD_ENUM:
		return json_string(field->names[field_number(field, object)]);
	case FIELD_OBJECT:
		return write_object(field->of, at);
	case FIELD_POINTER:
		return *(void *const *)at ? write_object(field->of, *(void *const *)at) : NULL;
	case FIELD_ARRAY:
		return write_array(field, object);
	case FIELD_MAP:
		return write_map(field, object);
	case FIELD_ANY:
		return json_incref(*(json_t *const *)at);
	default:
		return json_integer((json_int_t)field_number(field, object));
	}
}

json_t *fields_write(const struct fields *fields, const void *object)
{
	json_t *json = write_object(fields, object);
	assert(json);
	return json;
}

char *fields_text(const struct fields *fields, const void *object)
{
	AUTO_JSON json_t *json = fields_write(fields, object);
	return json_to_text(json);
}
