#include "agent/answer.h"

#include "base/str.h"
#include "model/json.h"

#include <errno.h>

void answer_json(struct http_exchange *x, unsigned status, json_t *json)
{
	AUTO_FREE char *text = json_to_text(json);
	json_decref(json);
	http_respond(x, status, "application/json", text, strlen(text));
}

void answer_problem(struct http_exchange *x, unsigned status, const struct err *err)
{
	AUTO_JSON json_t *json = json_pack("{s:s, s:i, s:s}", "title", http_status_text(status), "status", (int)status,
					   "detail", err->text);
	if (err->hint[0])
		json_object_set_new(json, "hint", json_string(err->hint));
	AUTO_FREE char *text = json_to_text(json);
	http_respond(x, status, "application/problem+json", text, strlen(text));
}

void answer_problemf(struct http_exchange *x, unsigned status, const char *fmt, ...)
{
	struct err err = { 0 };
	va_list args;
	va_start(args, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, args);
	va_end(args);
	answer_problem(x, status, &err);
}

json_t *answer_body(struct http_exchange *x, const char *body, size_t n)
{
	struct err err = { 0 };
	json_t *json = NULL;
	int r = json_from_bytes(body, n, &json, &err);
	if (r == 0 && !json_is_object(json))
		r = err_set(&err, -EINVAL, "the body must be a JSON object");
	if (r == 0)
		return json;
	json_decref(json);
	answer_problem(x, 400, &err);
	return NULL;
}
