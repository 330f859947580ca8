// JSON Schema 2020-12 of the tables, as OpenAPI 3.1 embeds it.
#include "model/field.h"

#include "base/str.h"

static json_t *element_schema(const struct fields *fields, json_t *schemas);

static void set_number(json_t *schema, const char *key, uint64_t value)
{
	json_object_set_new(schema, key, json_integer((json_int_t)(value > INT64_MAX ? INT64_MAX : value)));
}

static json_t *number_schema(const struct field *field)
{
	json_t *schema = json_pack("{s:s}", "type", "integer");
	set_number(schema, "minimum", field->min);
	set_number(schema, "maximum", field->max);
	if ((field->flags & OPTIONAL) && field->preset >= field->min && field->preset <= field->max)
		set_number(schema, "default", field->preset);
	return schema;
}

static json_t *text_schema(const struct field *field)
{
	json_t *schema = json_pack("{s:s}", "type", "string");
	if (field->type == FIELD_LABEL)
		json_object_set_new(schema, "pattern", json_string("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"));
	if (field->min)
		set_number(schema, "minLength", field->min);
	set_number(schema, "maxLength", field->max);
	return schema;
}

static json_t *enum_schema(const struct field *field)
{
	json_t *names = json_array();
	for (uint32_t i = 0; field->names[i]; i++)
		if (*field->names[i])
			json_array_append_new(names, json_string(field->names[i]));
	return json_pack("{s:s, s:o}", "type", "string", "enum", names);
}

static json_t *list_schema(const struct field *field, json_t *schemas)
{
	bool map = field->type == FIELD_MAP;
	json_t *schema = json_pack("{s:s, s:o}", "type", map ? "object" : "array",
				   map ? "additionalProperties" : "items", element_schema(field->of, schemas));
	set_number(schema, map ? "maxProperties" : "maxItems", field->max);
	if (field->min)
		set_number(schema, map ? "minProperties" : "minItems", field->min);
	return schema;
}

static json_t *field_schema(const struct field *field, json_t *schemas)
{
	switch (field->type) {
	case FIELD_TEXT:
	case FIELD_LABEL:
		return text_schema(field);
	case FIELD_BOOL:
		return json_pack("{s:s}", "type", "boolean");
	case FIELD_ENUM:
		return enum_schema(field);
	case FIELD_OBJECT:
		return element_schema(field->of, schemas);
	case FIELD_POINTER:
		return json_pack("{s:[o, {s:s}]}", "anyOf", element_schema(field->of, schemas), "type", "null");
	case FIELD_ARRAY:
	case FIELD_MAP:
		return list_schema(field, schemas);
	case FIELD_ANY:
		return json_object();
	default:
		return number_schema(field);
	}
}

static json_t *object_schema(const struct fields *fields, json_t *schemas)
{
	json_t *properties = json_object();
	json_t *required = json_array();
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		json_t *schema = field_schema(field, schemas);
		if (field->about)
			json_object_set_new(schema, "description", json_string(field->about));
		json_object_set_new(properties, field->name, schema);
		if (field->flags & REQUIRED)
			json_array_append_new(required, json_string(field->name));
	}
	json_t *schema = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
	if (json_array_size(required))
		json_object_set(schema, "required", required);
	json_decref(required);
	if (fields->about)
		json_object_set_new(schema, "description", json_string(fields->about));
	return schema;
}

static json_t *element_schema(const struct fields *fields, json_t *schemas)
{
	if (fields->bare)
		return field_schema(&fields->items[0], schemas);
	if (!json_object_get(schemas, fields->name)) {
		json_object_set_new(schemas, fields->name,
				    json_object()); // holds the place: types may nest in themselves
		json_object_set_new(schemas, fields->name, object_schema(fields, schemas));
	}
	AUTO_FREE char *reference = xasprintf("#/components/schemas/%s", fields->name);
	return json_pack("{s:s}", "$ref", reference);
}

json_t *fields_schema(const struct fields *fields, json_t *schemas)
{
	return fields->bare ? field_schema(&fields->items[0], schemas) : object_schema(fields, schemas);
}
