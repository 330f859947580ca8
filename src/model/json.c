#include "model/json.h"

#include "base/str.h"

#include <errno.h>

// jansson's own bound is 2048 levels; ours is checked before it recurses, on the brackets outside of texts.
static int check_depth(const char *bytes, size_t n, struct err *err)
{
	unsigned depth = 0;
	bool text = false;
	for (size_t i = 0; i < n; i++) {
		char c = bytes[i];
		if (text) {
			if (c == '\\')
				i++;
			else if (c == '"')
				text = false;
		} else if (c == '"') {
			text = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return err_set(err, -EBADMSG, "JSON nested deeper than %d levels", JSON_DEPTH_MAX);
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return 0;
}

int json_from_bytes(const void *bytes, size_t n, json_t **ret, struct err *err)
{
	int r = check_depth(bytes, n, err);
	if (r < 0)
		return r;
	json_error_t why;
	json_t *json = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	enum json_error_code code = json ? json_error_unknown : json_error_code(&why);
	if (code == json_error_null_character || code == json_error_null_byte_in_key)
		return err_set(err, -EBADMSG, "line %d, column %d: a NUL character in a string is not allowed",
			       why.line, why.column);
	if (!json)
		return err_set(err, -EBADMSG, "not valid JSON: line %d, column %d: %s", why.line, why.column, why.text);
	*ret = json;
	return 0;
}

static char *dump(const json_t *json, size_t flags)
{
	char *text = json_dumps(json, flags | JSON_ENCODE_ANY);
	return text ? text : xstrdup("null");
}

char *json_to_text(const json_t *json)
{
	return dump(json, JSON_COMPACT | JSON_SORT_KEYS);
}

char *json_to_pretty(const json_t *json)
{
	return dump(json, JSON_INDENT(2));
}

const char *json_get_text(const json_t *object, const char *key, const char *fallback)
{
	const json_t *value = json_object_get(object, key);
	return json_is_string(value) ? json_string_value(value) : fallback;
}

uint64_t json_get_u64(const json_t *object, const char *key, uint64_t fallback)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return fallback;
	return (uint64_t)json_integer_value(value);
}

bool json_get_bool(const json_t *object, const char *key, bool fallback)
{
	const json_t *value = json_object_get(object, key);
	return json_is_boolean(value) ? json_is_true(value) : fallback;
}
