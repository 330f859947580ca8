#include "model/manifest.h"

#include "base/buf.h"
#include "base/str.h"
#include "model/field.h"

// The indent, then what is written; everything fits: a spec is bounded.
struct writer {
	struct buf buf;
	int indent;
};

static void write_fields(struct writer *writer, const struct fields *fields, const void *object);

static void line(struct writer *writer, const char *key, const char *value)
{
	buf_addf(&writer->buf, "%*s%s:%s%s\n", writer->indent, "", key, *value ? " " : "", value);
}

// Could stand without quotes and mean the same: one word, or words after a first one of letters.
static bool is_plain(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/@-+=$";
	static const char safe_or_blank[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/@-+=$ ";
	static const char *const meant[] = { "null", "true", "false", "yes", "no", "~" };
	for (size_t i = 0; i < ARRAY_LEN(meant); i++)
		if (str_eq(text, meant[i]))
			return false;
	if (!*text || strchr("-@=", *text))
		return false;
	if (!text[strspn(text, safe)])
		return true;
	size_t first = strspn(text, letters);
	return first && text[first] == ' ' && !text[strspn(text, safe_or_blank)] && !str_ends(text, " ");
}

// A JSON text is also a double-quoted one of YAML.
static char *quoted(const char *text)
{
	if (is_plain(text))
		return xstrdup(text);
	AUTO_JSON json_t *json = json_string(text);
	return json ? json_dumps(json, JSON_ENCODE_ANY) : xstrdup("\"\"");
}

static void write_scalar(struct writer *writer, const char *key, const struct field *field, const void *object)
{
	AUTO_FREE char *text = field_text(field, object);
	AUTO_FREE char *value = quoted(text ? text : "");
	line(writer, key, value);
}

static void write_map(struct writer *writer, const struct field *field, const void *object)
{
	line(writer, field_human(field), "");
	writer->indent += 2;
	for (uint32_t i = 0; i < *field_count(field, object); i++) {
		const void *element = field_element(field, object, i);
		AUTO_FREE char *key = quoted(*(char *const *)element);
		if (field->of->bare) {
			write_scalar(writer, key, &field->of->items[0], element);
			continue;
		}
		line(writer, key, "");
		writer->indent += 2;
		write_fields(writer, field->of, element);
		writer->indent -= 2;
	}
	writer->indent -= 2;
}

static void write_list(struct writer *writer, const struct field *field, const void *object)
{
	uint32_t count = *field_count(field, object);
	line(writer, field_human(field), count ? "" : "[]");
	for (uint32_t i = 0; i < count; i++) {
		const void *element = field_element(field, object, i);
		AUTO_FREE char *identity = fields_identity(field->of, element);
		AUTO_FREE char *value = quoted(identity);
		buf_addf(&writer->buf, "%*s  - %s\n", writer->indent, "", value);
	}
}

static void write_fields(struct writer *writer, const struct fields *fields, const void *object)
{
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->items[i];
		bool routes = field->type == FIELD_ARRAY; // none at all is not the default
		if (field_is_default(field, object) && !routes)
			continue;
		if (field->about)
			buf_addf(&writer->buf, "%*s# %s\n", writer->indent, "", field->about);
		if (field->type == FIELD_MAP) {
			write_map(writer, field, object);
		} else if (field->type == FIELD_ARRAY) {
			write_list(writer, field, object);
		} else if (field->type == FIELD_OBJECT) {
			line(writer, field_human(field), "");
			writer->indent += 2;
			write_fields(writer, field->of, field_at(field, object));
			writer->indent -= 2;
		} else {
			write_scalar(writer, field_human(field), field, object);
		}
	}
}

char *manifest_write(const struct spec *spec)
{
	struct writer writer = { .buf = BUF_INIT(8 << 20) };
	write_fields(&writer, &spec_fields, spec);
	return buf_take(&writer.buf);
}
