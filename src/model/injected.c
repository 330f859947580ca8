#include "model/injected.h"

#include "base/str.h"

#include <stddef.h>

// What src/agent/launch.c gives; its test compares.
static const char *const always[] = {
	"INSTANCE_INDEX",
	"CF_INSTANCE_INDEX",
	"CF_INSTANCE_GUID",
	"CF_INSTANCE_IP",
	"DIALTONE_INSTANCE",
	"DIALTONE_INDEX",
	"DIALTONE_ADDRESS",
	"DIALTONE_APP",
	"DIALTONE_PROCESS",
	"DIALTONE_RELEASE",
	"DIALTONE_TENANT",
	"DIALTONE_ENVIRONMENT",
	"PATH",
	"HOME",
	"TMPDIR",
	"LANG",
	"USER",
	"MEMORY_LIMIT",
};
static const char *const with_port[] = { "PORT", "CF_INSTANCE_ADDR", "CF_INSTANCE_PORT" };

static bool is_among(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(name, names[i]))
			return true;
	return false;
}

bool injected_has(const char *name, bool has_port)
{
	return is_among(name, always, ARRAY_LEN(always)) ||
	       (has_port && is_among(name, with_port, ARRAY_LEN(with_port)));
}
