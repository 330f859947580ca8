#include "http/message.h"

#include "base/str.h"
#include "http/http1_head.h"

#include <strings.h>

const char *http_header_get(const struct http_headers *headers, const char *name)
{
	for (size_t i = 0; i < headers->n; i++)
		if (strcmp(headers->items[i].name, name) == 0)
			return headers->items[i].value;
	return NULL;
}

bool http1_list_has(const char *list, const char *token)
{
	size_t len = strlen(token);
	while (*list) {
		list += strspn(list, " \t,");
		size_t n = strcspn(list, ",");
		size_t trimmed = n;
		while (trimmed && (list[trimmed - 1] == ' ' || list[trimmed - 1] == '\t'))
			trimmed--;
		if (trimmed == len && strncasecmp(list, token, len) == 0)
			return true;
		list += n;
	}
	return false;
}

bool http_header_has_token(const struct http_headers *headers, const char *name, const char *token)
{
	for (size_t i = 0; i < headers->n; i++)
		if (strcmp(headers->items[i].name, name) == 0 && http1_list_has(headers->items[i].value, token))
			return true;
	return false;
}

static const struct {
	unsigned status;
	const char *text;
} status_texts[] = {
	{ 100, "Continue" },
	{ 101, "Switching Protocols" },
	{ 103, "Early Hints" },
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 203, "Non-Authoritative Information" },
	{ 204, "No Content" },
	{ 205, "Reset Content" },
	{ 206, "Partial Content" },
	{ 300, "Multiple Choices" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 402, "Payment Required" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 407, "Proxy Authentication Required" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 425, "Too Early" },
	{ 426, "Upgrade Required" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 451, "Unavailable For Legal Reasons" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
	{ 511, "Network Authentication Required" },
};

const char *http_status_text(unsigned status)
{
	for (size_t i = 0; i < ARRAY_LEN(status_texts); i++)
		if (status_texts[i].status == status)
			return status_texts[i].text;
	return "";
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static char *decode(const char *text, size_t n, bool plus_is_space)
{
	AUTO_FREE char *out = xmalloc(n + 1);
	size_t len = 0;
	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		if (c == '%') {
			int high = n - i > 2 ? hex_digit(text[i + 1]) : -1;
			int low = n - i > 2 ? hex_digit(text[i + 2]) : -1;
			if (high < 0 || low < 0 || high + low == 0)
				return NULL;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		out[len++] = c;
	}
	out[len] = '\0';
	return TAKE_PTR(out);
}

char *http_percent_decode(const char *text, size_t n)
{
	return decode(text, n, false);
}

bool http_query_next(const char **query, char **ret_name)
{
	const char *at = *query + strspn(*query, "&");
	size_t n = strcspn(at, "&"), name_len = strcspn(at, "=&");
	*query = at + n;
	if (!n)
		return false;
	AUTO_FREE char *whole = decode(at, n, true);
	*ret_name = whole ? decode(at, name_len, true) : NULL;
	return true;
}

char *http_query_get(const char *query, const char *name)
{
	while (*query) {
		size_t n = strcspn(query, "&");
		const char *equals = memchr(query, '=', n);
		size_t name_len = equals ? (size_t)(equals - query) : n;
		AUTO_FREE char *found = decode(query, name_len, true);
		if (str_eq(found, name)) {
			size_t skip = equals ? name_len + 1 : name_len;
			return decode(query + skip, n - skip, true);
		}
		query += n;
		query += *query == '&';
	}
	return NULL;
}
