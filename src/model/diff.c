#include "model/diff.h"

#include "base/str.h"
#include "model/field.h"

static const struct field change_items[] = {
	FIELD(change, path, FIELD_TEXT, REQUIRED, 0, 4096),
	FIELD(change, before, FIELD_TEXT, OPTIONAL, 0, 64 << 10),
	FIELD(change, after, FIELD_TEXT, OPTIONAL, 0, 64 << 10),
};
static const struct fields change_fields = FIELDS(change, change_items, "Change");

static const struct field changes_items[] = {
	FIELD_AS(changes, items, "changes", FIELD_ARRAY, REQUIRED, 0, 10000,
		 .count_offset = offsetof(struct changes, count), .of = &change_fields),
};
const struct fields changes_fields = FIELDS(changes, changes_items, "Changes");

static void diff_object(struct changes *changes, const char *path, const struct fields *fields, const void *before,
			const void *after);

void changes_add(struct changes *changes, const char *path, const char *before, const char *after)
{
	struct change *change = field_grow(&changes_items[0], changes);
	change->path = xstrdup(path);
	change->before = before ? xstrdup(before) : NULL;
	change->after = after ? xstrdup(after) : NULL;
}

static void diff_scalar(struct changes *changes, const char *path, const struct field *field, const void *before,
			const void *after)
{
	AUTO_FREE char *old = before ? field_text(field, before) : NULL;
	AUTO_FREE char *new = after ? field_text(field, after) : NULL;
	if (!str_eq(old, new))
		changes_add(changes, path, old, new);
}

// Both are sorted by key.
static void diff_map(struct changes *changes, const char *path, const struct field *field, const void *before,
		     const void *after)
{
	uint32_t old_count = before ? *field_count(field, before) : 0;
	uint32_t new_count = after ? *field_count(field, after) : 0;
	for (uint32_t i = 0, j = 0; i < old_count || j < new_count;) {
		const void *old = i < old_count ? field_element(field, before, i) : NULL;
		const void *new = j < new_count ? field_element(field, after, j) : NULL;
		int order = !old ? 1 : !new ? -1 : strcmp(*(char *const *)old, *(char *const *)new);
		const void *first = order <= 0 ? old : new;
		AUTO_FREE char *inner = xasprintf("%s.%s", path, *(char *const *)first);
		diff_object(changes, inner, field->of, order <= 0 ? old : NULL, order >= 0 ? new : NULL);
		i += order <= 0;
		j += order >= 0;
	}
}

static bool list_has(const struct field *field, const void *object, const char *identity)
{
	for (uint32_t i = 0; object && i < *field_count(field, object); i++) {
		AUTO_FREE char *other = fields_identity(field->of, field_element(field, object, i));
		if (str_eq(identity, other))
			return true;
	}
	return false;
}

// Elements of one that the other lacks.
static void diff_list_one(struct changes *changes, const char *path, const struct field *field, const void *one,
			  const void *other, bool removed)
{
	for (uint32_t i = 0; one && i < *field_count(field, one); i++) {
		AUTO_FREE char *identity = fields_identity(field->of, field_element(field, one, i));
		AUTO_FREE char *inner = xasprintf("%s[%s]", path, identity);
		if (!list_has(field, other, identity))
			changes_add(changes, inner, removed ? identity : NULL, removed ? NULL : identity);
	}
}

// An app that has no build has none of its settings either.
static const void *part(const struct field *field, const void *object)
{
	const void *inner = object ? field_at(field, object) : NULL;
	bool unused = inner && field->of == &build_fields && !((const struct build *)inner)->command;
	return unused ? NULL : inner;
}

static void diff_field(struct changes *changes, const char *path, const struct field *field, const void *before,
		       const void *after)
{
	switch (field->type) {
	case FIELD_OBJECT:
		diff_object(changes, path, field->of, part(field, before), part(field, after));
		break;
	case FIELD_MAP:
		diff_map(changes, path, field, before, after);
		break;
	case FIELD_ARRAY:
		diff_list_one(changes, path, field, before, after, true);
		diff_list_one(changes, path, field, after, before, false);
		break;
	default:
		diff_scalar(changes, path, field, before, after);
	}
}

static void diff_object(struct changes *changes, const char *path, const struct fields *fields, const void *before,
			const void *after)
{
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		AUTO_FREE char *inner = fields->bare ? xstrdup(path)
					: *path      ? xasprintf("%s.%s", path, field_human(field))
						     : xstrdup(field_human(field));
		diff_field(changes, inner, field, before, after);
	}
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

void spec_diff(const struct spec *before, const struct spec *after, struct changes *ret)
{
	struct changes changes = { 0 };
	diff_object(&changes, "", &spec_fields, before, after);
	if (changes.count)
		qsort(changes.items, changes.count, sizeof(*changes.items), by_path);
	*ret = changes;
}
