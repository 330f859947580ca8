// Private to src/model: one field of one object, as the parsers of JSON and of manifests set it.
#pragma once

#include "model/fields.h"

#define FIELD_WHY_SIZE 256

static inline void *field_at(const struct field *field, const void *object)
{
	return (char *)object + field->offset;
}

static inline uint32_t *field_count(const struct field *field, const void *object)
{
	return (uint32_t *)((char *)object + field->count_offset);
}

// The i-th element of an array or map.
static inline void *field_element(const struct field *field, const void *object, uint32_t i)
{
	return *(char **)field_at(field, object) + (size_t)i * field->of->size;
}

static inline const char *field_human(const struct field *field)
{
	return field->human ? field->human : field->name;
}

// BOOL, the numbers and ENUM, whatever their width.
uint64_t field_number(const struct field *field, const void *object);
void field_store(const struct field *field, void *object, uint64_t value);

// These check the limits: 0, or -EINVAL with the cause ("must be …") in why. Whatever was there before is freed.
int field_set_number(const struct field *field, void *object, uint64_t value, char why[FIELD_WHY_SIZE]);
int field_set_text(const struct field *field, void *object, const char *text, char why[FIELD_WHY_SIZE]);
int field_set_enum(const struct field *field, void *object, const char *name, char why[FIELD_WHY_SIZE],
		   const char **ret_nearest);

// Appends one element at its defaults to an array or map (key: a map's); NULL with the cause in why.
void *field_append(const struct field *field, void *object, const char *key, char why[FIELD_WHY_SIZE]);
// The same without limit and key.
void *field_grow(const struct field *field, void *object);
void field_sort(const struct field *field, void *object); // a map, by key

// The field with this JSON name (human: manifest name), or NULL and the nearest name or NULL in *ret_nearest.
const struct field *field_find(const struct fields *fields, const char *name, bool human, const char **ret_nearest);

// True when it holds its default, or nothing.
bool field_is_default(const struct field *field, const void *object);

// The value of a scalar field in the manifest's words, on the heap; NULL for an absent text.
char *field_text(const struct field *field, const void *object);

// What names an element of a list: the texts of its IDENTITY fields together, or that of a bare one. Heap.
char *fields_identity(const struct fields *fields, const void *element);

bool field_is_scalar(const struct field *field);
