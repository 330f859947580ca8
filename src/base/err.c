#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static void ellipsis(char *text, size_t size)
{
	memcpy(text + size - 4, "...", 4);
}

static void vformat(char *text, size_t size, const char *fmt, va_list args)
{
	int n = vsnprintf(text, size, fmt, args);
	if (n < 0)
		text[0] = '\0';
	else if ((size_t)n >= size)
		ellipsis(text, size);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list args;
	va_start(args, fmt);
	err->code = code;
	err->hint[0] = '\0';
	vformat(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

int err_set_errno(struct err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list args;
	va_start(args, fmt);
	err->code = code;
	err->hint[0] = '\0';
	vformat(err->text, sizeof(err->text), fmt, args);
	va_end(args);

	size_t used = strlen(err->text);
	int n = snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(-code));
	if (n < 0 || (size_t)n >= sizeof(err->text) - used)
		ellipsis(err->text, sizeof(err->text));
	return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	char below[sizeof(err->text)];
	memcpy(below, err->text, sizeof(below));

	va_list args;
	va_start(args, fmt);
	vformat(err->text, sizeof(err->text), fmt, args);
	va_end(args);

	size_t used = strlen(err->text);
	int n = snprintf(err->text + used, sizeof(err->text) - used, ": %s", below);
	if (n < 0 || (size_t)n >= sizeof(err->text) - used)
		ellipsis(err->text, sizeof(err->text));
	return err->code ? err->code : -EIO;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	va_list args;
	va_start(args, fmt);
	vformat(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
	return err->code ? err->code : -EIO;
}
