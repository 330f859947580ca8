#include "model/platform.h"

#include "base/str.h"
#include "model/json.h"

#include <errno.h>
#include <stddef.h>

#define PLATFORM_MAX 65536

void platform_clear(struct platform *platform)
{
	free(platform->data);
	free(platform->domain);
	free(platform->http);
	free(platform->api);
	free(platform->cache);
	free(platform->subnet);
	free(platform->store);
	free(platform->store_ca);
	free(platform->store_cert);
	free(platform->store_key);
	free(platform->name);
	free(platform->servers);
	*platform = (struct platform){ 0 };
}

static bool id_valid(const char *id)
{
	return id && strlen(id) == PLATFORM_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == PLATFORM_ID_SIZE - 1;
}

static int take_text(const json_t *object, const char *key, char **ret, struct err *err)
{
	const char *text = json_get_text(object, key, NULL);
	if (str_empty(text))
		return err_set(err, -EBADMSG, "'%s' is missing or not a text", key);
	*ret = xstrdup(text);
	return 0;
}

struct optional_text {
	const char *key;
	size_t offset;
};

static const struct optional_text optional_texts[] = {
	{ "store", offsetof(struct platform, store) },
	{ "store_ca", offsetof(struct platform, store_ca) },
	{ "store_cert", offsetof(struct platform, store_cert) },
	{ "store_key", offsetof(struct platform, store_key) },
	{ "name", offsetof(struct platform, name) },
	{ "servers", offsetof(struct platform, servers) },
};

static char **member_of(const struct platform *p, const struct optional_text *text)
{
	return (char **)((char *)p + text->offset);
}

static void take_optional(const json_t *object, struct platform *p)
{
	for (size_t i = 0; i < ARRAY_LEN(optional_texts); i++) {
		const char *text = json_get_text(object, optional_texts[i].key, NULL);
		if (!str_empty(text))
			*member_of(p, &optional_texts[i]) = xstrdup(text);
	}
}

static int parse(const void *bytes, size_t n, struct platform *p, struct err *err)
{
	AUTO_JSON json_t *json = NULL;
	int r = json_from_bytes(bytes, n, &json, err);
	if (r < 0)
		return r;
	const char *id = json_get_text(json, "id", NULL);
	if (!id_valid(id))
		return err_set(err, -EBADMSG, "'id' is not 6 hexadecimal digits");
	memcpy(p->id, id, PLATFORM_ID_SIZE);
	r = take_text(json, "domain", &p->domain, err);
	if (r == 0)
		r = take_text(json, "http", &p->http, err);
	if (r == 0)
		r = take_text(json, "api", &p->api, err);
	if (r == 0)
		r = take_text(json, "cache", &p->cache, err);
	if (r == 0)
		r = take_text(json, "subnet", &p->subnet, err);
	if (r == 0)
		take_optional(json, p);
	return r;
}

int platform_load(const char *data, struct platform *ret, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/platform.json", data);
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	if (!file && errno == ENOENT) {
		err_set(err, -ENOENT, "there is no platform in '%s'", data);
		return err_hint(err, "'dialtone up --data %s' makes one", data);
	}
	if (!file)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	AUTO_FREE char *bytes = xmalloc(PLATFORM_MAX);
	size_t n = fread(bytes, 1, PLATFORM_MAX, file);
	if (ferror(file))
		return err_set(err, -EIO, "cannot read '%s'", path);
	AUTO_PLATFORM struct platform platform = { .data = xstrdup(data) };
	if (parse(bytes, n, &platform, err) < 0)
		return err_wrap(err, "'%s'", path);
	*ret = platform;
	platform = (struct platform){ 0 };
	return 0;
}

char *platform_servers(const struct platform *platform)
{
	if (platform->servers)
		return xstrdup(platform->servers);
	bool shared = platform_is_shared(platform) && !platform_api_is_local(platform);
	return shared ? xasprintf("https://%s", platform->api) : platform_api(platform);
}

bool platform_api_is_local(const struct platform *platform)
{
	return str_starts(platform->api, "127.") || str_starts(platform->api, "[::1]:") ||
	       str_starts(platform->api, "unix:");
}

char *platform_api(const struct platform *platform)
{
	if (platform_api_is_local(platform))
		return xasprintf("http://%s", platform->api);
	return xasprintf("http://%s%s", platform->api[0] == '[' ? "[::1]" : "127.0.0.1", strrchr(platform->api, ':'));
}

char *platform_to_text(const struct platform *platform)
{
	AUTO_JSON json_t *json =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", platform->id, "domain", platform->domain, "http",
			  platform->http, "api", platform->api, "cache", platform->cache, "subnet", platform->subnet);
	for (size_t i = 0; i < ARRAY_LEN(optional_texts); i++) {
		const char *text = *member_of(platform, &optional_texts[i]);
		if (text)
			json_object_set_new(json, optional_texts[i].key, json_string(text));
	}
	AUTO_FREE char *text = json_to_pretty(json);
	return xasprintf("%s\n", text);
}
