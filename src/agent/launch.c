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

struct variables {
	char **items; // NULL-terminated
	size_t n;
};

static char *variables_find(const struct variables *variables, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < variables->n; i++) {
		if (strncmp(variables->items[i], name, len) == 0 && variables->items[i][len] == '=')
			return variables->items[i] + len + 1;
	}
	return NULL;
}

// The first to say a name is right.
static void variables_add(struct variables *variables, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void variables_add(struct variables *variables, const char *name, const char *fmt, ...)
{
	if (variables_find(variables, name))
		return;
	char *value = NULL;
	va_list args;
	va_start(args, fmt);
	if (vasprintf(&value, fmt, args) < 0)
		abort();
	va_end(args);
	variables->items = xreallocarray(variables->items, variables->n + 2, sizeof(*variables->items));
	variables->items[variables->n++] = xasprintf("%s=%s", name, value);
	variables->items[variables->n] = NULL;
	free(value);
}

static void add_pairs(struct variables *variables, const struct pair *pairs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		variables_add(variables, pairs[i].name, "%s", pairs[i].value);
}

static void add_platform(struct variables *variables, const struct assignment *a, const char *ip)
{
	if (a->port) {
		variables_add(variables, "PORT", "%u", a->port);
		variables_add(variables, "CF_INSTANCE_ADDR", "%s:%u", ip, a->port);
		variables_add(variables, "CF_INSTANCE_PORT", "%u", a->port);
	}
	variables_add(variables, "INSTANCE_INDEX", "%u", a->index);
	variables_add(variables, "CF_INSTANCE_INDEX", "%u", a->index);
	variables_add(variables, "CF_INSTANCE_GUID", "%s", a->instance);
	variables_add(variables, "CF_INSTANCE_IP", "%s", ip);
	variables_add(variables, "DIALTONE_INSTANCE", "%s", a->instance);
	variables_add(variables, "DIALTONE_INDEX", "%u", a->index);
	variables_add(variables, "DIALTONE_ADDRESS", "%s", ip);
	variables_add(variables, "DIALTONE_APP", "%s", a->app);
	variables_add(variables, "DIALTONE_PROCESS", "%s", a->process);
	variables_add(variables, "DIALTONE_RELEASE", "%u", a->release);
	variables_add(variables, "DIALTONE_TENANT", "%s", a->tenant);
	variables_add(variables, "DIALTONE_ENVIRONMENT", "%s", a->environment);
}

static void add_defaults(struct variables *variables, const struct assignment *a)
{
	variables_add(variables, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	variables_add(variables, "HOME", APP_DIR);
	variables_add(variables, "TMPDIR", "/tmp");
	variables_add(variables, "LANG", "C.UTF-8");
	variables_add(variables, "USER", "app");
	if (a->memory_bytes)
		variables_add(variables, "MEMORY_LIMIT", "%llum", (unsigned long long)(a->memory_bytes >> 20));
}

static const char *lookup(void *arg, const char *name)
{
	return variables_find(arg, name);
}

static int expand(struct variables *variables, const struct assignment *a, const char *const *words, char ***ret,
		  struct err *err)
{
	uint32_t n = 0;
	while (words && words[n])
		n++;
	struct words expanded = { 0 };
	int r = command_expand(words ? words : (const char *const *)a->command, words ? n : a->command_count, lookup,
			       variables, &expanded, err);
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
	struct variables variables = { 0 };
	add_platform(&variables, a, ip);
	add_pairs(&variables, extra, n_extra);
	add_pairs(&variables, a->env, a->env_count);
	add_defaults(&variables, a);
	char **expanded = NULL;
	int r = expand(&variables, a, words, &expanded, err);
	if (r < 0) {
		strings_free(variables.items);
		return r;
	}
	*ret = (struct launch){ .env = variables.items, .words = expanded, .dns = resolvers(false) };
	return 0;
}

void launch_machine_dns(struct launch *launch)
{
	strings_free(launch->dns);
	launch->dns = resolvers(true);
}
