#include "agent/launch.h"

#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"
#include "model/command.h"

#include <errno.h>

static void strings_free(char **strings)
{
	for (char **s = strings; s && *s; s++)
		free(*s);
	free(strings);
}

void launch_clear(struct launch *launch)
{
	strings_free(launch->env);
	strings_free(launch->words);
	strings_free(launch->dns);
	*launch = (struct launch){ 0 };
}

struct environ {
	char **items; // NULL-terminated
	size_t n;
};

static char *environ_find(const struct environ *environ, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < environ->n; i++) {
		if (strncmp(environ->items[i], name, len) == 0 && environ->items[i][len] == '=')
			return environ->items[i] + len + 1;
	}
	return NULL;
}

// The first to say a name is right.
static void environ_add(struct environ *environ, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void environ_add(struct environ *environ, const char *name, const char *fmt, ...)
{
	if (environ_find(environ, name))
		return;
	char *value = NULL;
	va_list args;
	va_start(args, fmt);
	if (vasprintf(&value, fmt, args) < 0)
		abort();
	va_end(args);
	environ->items = xreallocarray(environ->items, environ->n + 2, sizeof(*environ->items));
	environ->items[environ->n++] = xasprintf("%s=%s", name, value);
	environ->items[environ->n] = NULL;
	free(value);
}

static void add_pairs(struct environ *environ, const struct pair *pairs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		environ_add(environ, pairs[i].name, "%s", pairs[i].value);
}

static void add_platform(struct environ *environ, const struct assignment *a, const char *ip)
{
	if (a->port) {
		environ_add(environ, "PORT", "%u", a->port);
		environ_add(environ, "CF_INSTANCE_ADDR", "%s:%u", ip, a->port);
		environ_add(environ, "CF_INSTANCE_PORT", "%u", a->port);
	}
	environ_add(environ, "INSTANCE_INDEX", "%u", a->index);
	environ_add(environ, "CF_INSTANCE_INDEX", "%u", a->index);
	environ_add(environ, "CF_INSTANCE_GUID", "%s", a->instance);
	environ_add(environ, "CF_INSTANCE_IP", "%s", ip);
	environ_add(environ, "DIALTONE_INSTANCE", "%s", a->instance);
	environ_add(environ, "DIALTONE_INDEX", "%u", a->index);
	environ_add(environ, "DIALTONE_ADDRESS", "%s", ip);
	environ_add(environ, "DIALTONE_APP", "%s", a->app);
	environ_add(environ, "DIALTONE_PROCESS", "%s", a->process);
	environ_add(environ, "DIALTONE_RELEASE", "%u", a->release);
	environ_add(environ, "DIALTONE_TENANT", "%s", a->tenant);
	environ_add(environ, "DIALTONE_ENVIRONMENT", "%s", a->environment);
}

static void add_defaults(struct environ *environ, const struct assignment *a)
{
	environ_add(environ, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	environ_add(environ, "HOME", APP_DIR);
	environ_add(environ, "TMPDIR", "/tmp");
	environ_add(environ, "LANG", "C.UTF-8");
	environ_add(environ, "USER", "app");
	if (a->memory_bytes)
		environ_add(environ, "MEMORY_LIMIT", "%llum", (unsigned long long)(a->memory_bytes >> 20));
}

static const char *lookup(void *arg, const char *name)
{
	return environ_find(arg, name);
}

static int expand(struct environ *environ, const struct assignment *a, const char *const *words, char ***ret,
		  struct err *err)
{
	uint32_t n = 0;
	while (words && words[n])
		n++;
	struct words expanded = { 0 };
	int r = command_expand(words ? words : (const char *const *)a->command, words ? n : a->command_count, lookup,
			       environ, &expanded, err);
	if (r < 0)
		return err_wrap(err, "command of process %s", a->process);
	if (expanded.count == 0) {
		words_clear(&expanded);
		return err_set(err, -EINVAL, "process %s has no command", a->process);
	}
	char **out = xcalloc(expanded.count + 1, sizeof(*out));
	for (uint32_t i = 0; i < expanded.count; i++)
		out[i] = TAKE_PTR(expanded.items[i]);
	words_clear(&expanded);
	*ret = out;
	return 0;
}

// The machine's resolvers; those on loopback are for the machine itself only.
static char **resolvers(bool loopback_too)
{
	AUTO_BUF struct buf text = BUF_INIT(64 << 10);
	char **dns = xcalloc(4, sizeof(*dns));
	if (file_read("/etc/resolv.conf", &text, NULL) < 0)
		return dns;
	size_t n = 0;
	AUTO_FREE char *lines = xstrdup(buf_str(&text));
	char *rest = NULL;
	for (char *line = strtok_r(lines, "\n", &rest); line && n < 3; line = strtok_r(NULL, "\n", &rest)) {
		char address[64];
		if (sscanf(line, " nameserver %63s", address) != 1)
			continue;
		if (loopback_too || (!str_starts(address, "127.") && !str_eq(address, "::1")))
			dns[n++] = xstrdup(address);
	}
	return dns;
}

int launch_prepare(const struct assignment *a, const char *ip, const struct pair *extra, uint32_t n_extra,
		   const char *const *words, struct launch *ret, struct err *err)
{
	struct environ environ = { 0 };
	add_platform(&environ, a, ip);
	add_pairs(&environ, extra, n_extra);
	add_pairs(&environ, a->env, a->env_count);
	add_defaults(&environ, a);
	char **expanded = NULL;
	int r = expand(&environ, a, words, &expanded, err);
	if (r < 0) {
		strings_free(environ.items);
		return r;
	}
	*ret = (struct launch){ .env = environ.items, .words = expanded, .dns = resolvers(false) };
	return 0;
}

void launch_machine_dns(struct launch *launch)
{
	strings_free(launch->dns);
	launch->dns = resolvers(true);
}
