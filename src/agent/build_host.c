#include "agent/build_host.h"

#include "base/str.h"

#include <ctype.h>
#include <strings.h>
#include <sys/stat.h>

extern char **environ;

static const char *const prefixes[] = { "npm_config_", "pip_" };
static const char *const names[] = { "http_proxy",    "https_proxy",	 "no_proxy",	       "all_proxy",
				     "ssl_cert_file", "ssl_cert_dir",	 "requests_ca_bundle", "curl_ca_bundle",
				     "node_extra_ca_certs" };

// Where the machine has a file, and where programs in the container look for it. "~/" is the home folder.
static const struct host_file {
	const char *source, *target;
} host_files[] = {
	{ "~/.npmrc", "/root/.npmrc" },
	{ "/etc/npmrc", "/etc/npmrc" },
	{ "/etc/pip.conf", "/etc/pip.conf" },
	{ "~/.pip/pip.conf", "/root/.pip/pip.conf" },
	{ "~/.config/pip/pip.conf", "/root/.config/pip/pip.conf" },
	{ "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt" },
};

static bool is_setting(const char *variable, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		if (strncasecmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strlen(names[i]) == len && strncasecmp(variable, names[i], len) == 0)
			return true;
	}
	return false;
}

static void add_bind(struct build_host *host, const char *source, const char *target)
{
	struct stat st;
	if (stat(source, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
		return;
	for (size_t i = 0; i < host->n_binds; i++) {
		if (str_eq(host->binds[i].target, target))
			return;
	}
	host->binds = xreallocarray(host->binds, host->n_binds + 1, sizeof(*host->binds));
	host->binds[host->n_binds++] = (struct container_bind){ .source = xstrdup(source), .target = xstrdup(target) };
}

static void add_env(struct build_host *host, const char *name, size_t len, const char *value)
{
	host->env = xreallocarray(host->env, host->n_env + 1, sizeof(*host->env));
	host->env[host->n_env++] = (struct pair){ xstrndup(name, len), xstrdup(value) };
}

static void read_environment(struct build_host *host)
{
	for (char **variable = environ; *variable; variable++) {
		size_t len = strcspn(*variable, "=");
		const char *value = *variable + len + ((*variable)[len] == '=');
		if (!is_setting(*variable, len) || str_empty(value))
			continue;
		add_env(host, *variable, len, value);
		if (value[0] == '/' && value[1])
			add_bind(host, value, value);
	}
}

static void read_files(struct build_host *host)
{
	const char *home = getenv("HOME");
	for (size_t i = 0; i < ARRAY_LEN(host_files); i++) {
		const struct host_file *file = &host_files[i];
		bool at_home = str_starts(file->source, "~/");
		AUTO_FREE char *source = at_home ? xasprintf("%s%s", str_empty(home) ? "/root" : home, file->source + 1) :
						   xstrdup(file->source);
		add_bind(host, source, file->target);
		if (str_eq(file->target, "/etc/npmrc") && host->n_binds &&
		    str_eq(host->binds[host->n_binds - 1].target, file->target))
			add_env(host, "NPM_CONFIG_GLOBALCONFIG", strlen("NPM_CONFIG_GLOBALCONFIG"), file->target);
	}
}

void build_host_read(struct build_host *ret)
{
	*ret = (struct build_host){ 0 };
	read_environment(ret);
	read_files(ret);
}

void build_host_clear(struct build_host *host)
{
	for (uint32_t i = 0; i < host->n_env; i++) {
		free(host->env[i].name);
		free(host->env[i].value);
	}
	for (size_t i = 0; i < host->n_binds; i++) {
		free((char *)host->binds[i].source);
		free((char *)host->binds[i].target);
	}
	free(host->env);
	free(host->binds);
	*host = (struct build_host){ 0 };
}
