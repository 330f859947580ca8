#include "client/config.h"

#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>

enum { CONFIG_MAX = 1 << 20 };

static void json_clear(json_t **json)
{
	json_decref(*json);
}

#define AUTO_JSON CLEANUP(json_clear)

void client_config_clear(struct client_config *config)
{
	free(config->address);
	free(config->token);
	free(config->tenant);
	free(config->environment);
	free(config->authority);
	free(config->data);
	*config = (struct client_config){ 0 };
}

static int config_path(char **ret_dir, char **ret_file, struct err *err)
{
	const char *home = getenv("HOME");
	if (str_empty(home)) {
		err_set(err, -ENOENT, "HOME is not set, so there is no place for the configuration");
		return err_hint(err, "set HOME, or DIALTONE_API and DIALTONE_TOKEN");
	}
	*ret_dir = xasprintf("%s/.config/dialtone", home);
	*ret_file = xasprintf("%s/config.json", *ret_dir);
	return 0;
}

// The file's object; an empty one when there is no file.
static int config_read(const char *path, json_t **ret, struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(CONFIG_MAX);
	int r = file_read(path, &text, err);
	if (r == -ENOENT) {
		*ret = json_object();
		return 0;
	}
	if (r < 0)
		return r;
	json_error_t why;
	AUTO_JSON json_t *json = json_loadb(buf_data(&text), buf_len(&text), JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(json)) {
		err_set(err, -EINVAL, "%s:%d:%d: %s", path, why.line, why.column, json ? "not an object" : why.text);
		return err_hint(err, "mend it, or remove it and run 'dialtone up' again");
	}
	*ret = TAKE_PTR(json);
	return 0;
}

static int config_write(const char *dir, const char *path, const json_t *json, struct err *err)
{
	int r = dir_make(dir, 0700, err);
	if (r < 0)
		return r;
	AUTO_FREE char *text = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
	return file_write_durable(path, text, strlen(text), 0600, err);
}

static json_t *platforms_of(json_t *json)
{
	json_t *platforms = json_object_get(json, "platforms");
	if (!json_is_object(platforms)) {
		platforms = json_object();
		json_object_set_new(json, "platforms", platforms);
	}
	return platforms;
}

static const char *first_of(const char *variable, const json_t *platform, const char *member, const char *otherwise)
{
	const char *text = getenv(variable);
	if (!str_empty(text))
		return text;
	text = json_string_value(json_object_get(platform, member));
	return str_empty(text) ? otherwise : text;
}

static int no_token(const char *address, struct err *err)
{
	if (!address) {
		err_set(err, -ENOENT, "no platform is known to this user");
		return err_hint(err, "start one here with 'dialtone up', or set DIALTONE_API and DIALTONE_TOKEN");
	}
	err_set(err, -ENOENT, "there is no token for the platform at %s", address);
	return err_hint(err, "run 'dialtone up' as this user, or set DIALTONE_TOKEN");
}

// As the file has it: without a '/' at the end, and with the number that localhost stands for.
static char *bare_address(const char *address)
{
	size_t n = strlen(address);
	bool local = str_starts(address, "http://localhost:");
	AUTO_FREE char *text = xstrndup(address, n && address[n - 1] == '/' ? n - 1 : n);
	return local ? xasprintf("http://127.0.0.1:%s", text + strlen("http://localhost:")) : TAKE_PTR(text);
}

// The platform that the file has under the first of these addresses, and the address. *ret_address: heap; NULL for
// none.
static json_t *find_platform(const json_t *json, const char *addresses, char **ret_address)
{
	AUTO_FREE char *first = addresses ? xstrndup(addresses, strcspn(addresses, ",")) : NULL;
	*ret_address = first ? bare_address(first) : NULL;
	return first ? json_object_get(json_object_get(json, "platforms"), *ret_address) : NULL;
}

// The address first, then the others of the list.
static char *with_servers(const char *address, const char *servers)
{
	char *all = xstrdup(address);
	AUTO_FREE char *copy = xstrdup(servers ? servers : "");
	char *rest = copy;
	for (char *one; (one = strsep(&rest, ","));) {
		if (!*one || str_eq(one, address))
			continue;
		char *longer = xasprintf("%s,%s", all, one);
		free(all);
		all = longer;
	}
	return all;
}

// As the file has it; of a platform on this machine, as its server has written it, where that may be read. Heap or NULL.
static char *authority_of(const json_t *platform, const char *data)
{
	const char *kept = json_string_value(json_object_get(platform, "authority"));
	if (kept || !data)
		return kept ? xstrdup(kept) : NULL;
	AUTO_FREE char *path = xasprintf("%s/secrets/authority.pem", data);
	AUTO_BUF struct buf text = BUF_INIT(CONFIG_MAX);
	return file_read(path, &text, NULL) == 0 ? buf_take(&text) : NULL;
}

int client_config_load(const char *address, struct client_config *ret, struct err *err)
{
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *path = NULL;
	AUTO_JSON json_t *json = NULL;
	bool complete = !str_empty(getenv("DIALTONE_TOKEN")) && (address || !str_empty(getenv("DIALTONE_API")));
	int r = config_path(&dir, &path, err);
	if (r == 0)
		r = config_read(path, &json, err);
	if (r < 0 && !complete)
		return r;
	if (!address)
		address = first_of("DIALTONE_API", json, "current", NULL);
	AUTO_FREE char *bare = NULL;
	json_t *platform = find_platform(json, address, &bare);
	const char *others = address ? strchr(address, ',') : NULL;
	others = others ? others + 1 : json_string_value(json_object_get(platform, "servers"));
	address = bare;
	const char *data = json_string_value(json_object_get(platform, "data"));
	const char *token = first_of("DIALTONE_TOKEN", platform, "token", NULL);
	if (!address || !token)
		return no_token(address, err);
	*ret = (struct client_config){
		.address = with_servers(address, others),
		.token = xstrdup(token),
		.tenant = xstrdup(first_of("DIALTONE_TENANT", platform, "tenant", "default")),
		.environment = xstrdup(first_of("DIALTONE_ENVIRONMENT", platform, "environment", "dev")),
		.authority = authority_of(platform, data),
		.data = data ? xstrdup(data) : NULL,
	};
	return 0;
}

struct change {
	const char *token, *data, *authority; // data, authority: NULL leaves what is there
};

static int store(const char *address, const struct change *change, struct err *err)
{
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *path = NULL;
	AUTO_JSON json_t *json = NULL;
	int r = config_path(&dir, &path, err);
	if (r == 0)
		r = config_read(path, &json, err);
	if (r < 0)
		return err_wrap(err, "cannot keep the token of %s", address);
	json_t *platforms = platforms_of(json);
	json_t *platform = json_object_get(platforms, address);
	if (!json_is_object(platform)) {
		platform = json_object();
		json_object_set_new(platforms, address, platform);
	}
	json_object_set_new(platform, "token", json_string(change->token));
	if (change->data)
		json_object_set_new(platform, "data", json_string(change->data));
	if (change->authority)
		json_object_set_new(platform, "authority", json_string(change->authority));
	json_object_set_new(json, "current", json_string(address));
	return config_write(dir, path, json, err);
}

int client_config_store(const char *address, const char *token, const char *data, struct err *err)
{
	return store(address, &(struct change){ .token = token, .data = data }, err);
}

int client_config_login(const char *address, const char *token, const char *authority, struct err *err)
{
	AUTO_FREE char *bare = bare_address(address);
	return store(bare, &(struct change){ .token = token, .authority = authority }, err);
}

int client_config_store_servers(const struct client_config *config, const char *servers, struct err *err)
{
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *address = NULL;
	AUTO_JSON json_t *json = NULL;
	int r = config_path(&dir, &path, err);
	if (r == 0)
		r = config_read(path, &json, err);
	if (r < 0)
		return r;
	json_t *platform = find_platform(json, config->address, &address);
	const char *before = json_string_value(json_object_get(platform, "servers"));
	bool alone = str_eq(servers, address);
	if (!platform || str_eq(before, servers) || (!before && alone))
		return 0;
	if (alone)
		json_object_del(platform, "servers");
	else
		json_object_set_new(platform, "servers", json_string(servers));
	return config_write(dir, path, json, err);
}

static char *format(const char *fmt, va_list args)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	return text;
}

char *client_environment_path(const struct client_config *config, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	AUTO_FREE char *rest = format(fmt, args);
	va_end(args);
	AUTO_FREE char *tenant = client_escape(config->tenant);
	AUTO_FREE char *environment = client_escape(config->environment);
	return xasprintf("/v1/tenants/%s/environments/%s/%s", tenant, environment, rest);
}

char *client_tenant_path(const struct client_config *config, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	AUTO_FREE char *rest = format(fmt, args);
	va_end(args);
	AUTO_FREE char *tenant = client_escape(config->tenant);
	return xasprintf("/v1/tenants/%s/%s", tenant, rest);
}

char *client_escape(const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	char *out = xmalloc(3 * strlen(text) + 1), *to = out;
	for (; *text; text++) {
		if (strchr(plain, *text))
			*to++ = *text;
		else
			to += snprintf(to, 4, "%%%02X", (unsigned char)*text);
	}
	*to = '\0';
	return out;
}
