#include "main/setup.h"

#include "base/id.h"
#include "base/str.h"
#include "client/config.h"
#include "io/file.h"
#include "io/socket.h"
#include "main/subnet.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SECRET_BYTES 24

// Sockets lie below DATA, and their names have room for no more (sockaddr_un).
static int check_length(const char *data, struct err *err)
{
	static const char longest[] = "/node/crun/.tty-0123456789"; // agent/container/crun.c
	const size_t most = sizeof((struct sockaddr_un *)0)->sun_path - sizeof(longest);
	if (strlen(data) <= most)
		return 0;
	err_set(err, -ENAMETOOLONG,
		"the path of the data directory '%s' has %zu bytes, more than the %zu that leave room for sockets in it", data,
		strlen(data), most);
	return err_hint(err, "name a shorter one with --data DIR");
}

int setup_data(const char *data, bool make, char **ret, struct err *err)
{
	static const char *const folders[] = { "", "/run", "/log", "/secrets", "/node/instances" };
	int r = make ? check_length(data, err) : 0;
	for (size_t n = 0; make && r == 0 && n < ARRAY_LEN(folders); n++) {
		AUTO_FREE char *path = xasprintf("%s%s", data, folders[n]);
		r = dir_make(path, 0700, err);
	}
	if (r < 0)
		return r;
	AUTO_FREE char *path = realpath(data, NULL);
	if (path) {
		r = make ? check_length(path, err) : 0;
		if (r == 0)
			*ret = TAKE_PTR(path);
		return r;
	}
	if (errno != ENOENT)
		return err_set_errno(err, -errno, "data directory '%s'", data);
	err_set(err, -ENOENT, "there is no data directory '%s'", data);
	return err_hint(err, "name the one that 'dialtone up' was given, with --data DIR");
}

static char *chosen_if_any(const char *given, const char *before)
{
	const char *text = given ? given : before;
	return str_empty(text) ? NULL : xstrdup(text);
}

static char *chosen(const char *given, const char *before, const char *otherwise)
{
	return xstrdup(given ? given : before ? before : otherwise);
}

static int absolute_path(const char *path, char **ret, struct err *err)
{
	int r = dir_make(path, 0755, err);
	if (r < 0)
		return r;
	char *real = realpath(path, NULL);
	if (!real)
		return err_set_errno(err, -errno, "cache directory '%s'", path);
	*ret = real;
	return 0;
}

static bool domain_valid(const char *domain)
{
	AUTO_FREE char *copy = xstrdup(domain);
	char *rest = copy;
	if (!*domain || strlen(domain) > 200)
		return false;
	for (char *label; (label = strsep(&rest, "."));)
		if (!str_is_label(label))
			return false;
	return true;
}

int setup_check(const struct setup_options *options, struct err *err)
{
	if (options->http && options->api && str_eq(options->http, options->api)) {
		err_set(err, -EINVAL, "--http and --api are both '%s'; they need different ports", options->http);
		return err_hint(err, "leave one out for its default: %s and %s", PLATFORM_HTTP_DEFAULT, PLATFORM_API_DEFAULT);
	}
	if (!str_empty(options->store) && !str_starts(options->store, "etcd://")) {
		err_set(err, -EINVAL, "--store '%s' is not a store of several machines", options->store);
		return err_hint(err, "write etcd://ADDR:PORT,ADDR:PORT,ADDR:PORT, or leave it out for SQLite in --data");
	}
	if (!str_empty(options->name) && !str_is_label(options->name)) {
		err_set(err, -EINVAL, "--name '%s' is not a server's name", options->name);
		return err_hint(err, "lower-case letters, digits and '-', for example a1");
	}
	if (options->domain && !domain_valid(options->domain)) {
		err_set(err, -EINVAL, "--domain '%s' is not a domain name", options->domain);
		return err_hint(
			err,
			"lower-case letters, digits and '-' in labels joined by '.', for example apps.example.com");
	}
	return 0;
}

// The same of what is left when the options have been joined with what platform.json says.
static int validate(const struct platform *p, struct err *err)
{
	struct address address;
	int r = address_parse(p->http, &address, err);
	if (r < 0)
		return err_wrap(err, "--http");
	r = address_parse(p->api, &address, err);
	if (r < 0)
		return err_wrap(err, "--api");
	return setup_check(&(struct setup_options){ .http = p->http,
						    .api = p->api,
						    .domain = p->domain,
						    .store = p->store,
						    .name = p->name },
			   err);
}

// Keeps the subnet of before unless this machine uses it for something else now.
static int choose_subnet(struct platform *p, const char *before, struct err *err)
{
	AUTO_FREE struct ipv4_range *taken = NULL;
	size_t n;
	int r = subnet_taken(p->id, &taken, &n, err);
	if (r < 0)
		return r;
	if (before && !subnet_overlaps(before, taken, n)) {
		p->subnet = xstrdup(before);
		return 0;
	}
	if (before) {
		err_set(err, -EADDRINUSE, "the instances' subnet %s overlaps an address or route of this machine",
			before);
		return err_hint(err,
				"'ip route' shows it. For another subnet: 'dialtone down --apps --data %s', change "
				"\"subnet\" in platform.json there, and up again",
				p->data);
	}
	// Begun at a place of its own, so that a platform that is down now is not likely to have the same.
	char subnet[SUBNET_TEXT_SIZE];
	r = subnet_choose(taken, n, (unsigned)strtoul(p->id, NULL, 16), subnet);
	if (r < 0)
		return err_set(err, r, "no /20 of 100.64.0.0/10 is free on this machine");
	p->subnet = xstrdup(subnet);
	return 0;
}

int setup_platform(const char *data, const struct setup_options *options, struct platform *ret, struct err *err)
{
	AUTO_PLATFORM struct platform before = { 0 };
	int r = platform_load(data, &before, err);
	if (r < 0 && r != -ENOENT)
		return r;
	AUTO_PLATFORM struct platform p = { .data = xstrdup(data) };
	p.domain = chosen(options->domain, before.domain, PLATFORM_DOMAIN_DEFAULT);
	p.http = chosen(options->http, before.http, PLATFORM_HTTP_DEFAULT);
	p.api = chosen(options->api, before.api, PLATFORM_API_DEFAULT);
	p.store = chosen_if_any(options->store, before.store);
	p.store_ca = chosen_if_any(options->store_ca, before.store_ca);
	p.store_cert = chosen_if_any(options->store_cert, before.store_cert);
	p.store_key = chosen_if_any(options->store_key, before.store_key);
	p.name = chosen_if_any(options->name, before.name);
	p.servers = chosen_if_any(options->servers, before.servers);
	AUTO_FREE char *cache = chosen(options->cache, before.cache, PLATFORM_CACHE_DEFAULT);
	memcpy(p.id, before.id, sizeof(p.id));
	if (!p.id[0]) {
		unsigned char bytes[(PLATFORM_ID_SIZE - 1) / 2];
		random_bytes(bytes, sizeof(bytes));
		hex_write(bytes, sizeof(bytes), p.id);
	}
	r = validate(&p, err);
	if (r == 0)
		r = absolute_path(cache, &p.cache, err);
	if (r == 0)
		r = choose_subnet(&p, before.subnet, err);
	if (r < 0)
		return r;
	*ret = p;
	p = (struct platform){ 0 };
	return 0;
}

// The secret in DATA/secrets/NAME.token, made when it is missing. Heap.
static int secret(const char *data, const char *name, char **ret, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/secrets/%s.token", data, name);
	AUTO_BUF struct buf text = BUF_INIT(4096);
	int r = file_read(path, &text, err);
	if (r == 0 && buf_len(&text) >= 2 * SECRET_BYTES) {
		*ret = buf_take(&text);
		(*ret)[strcspn(*ret, "\n")] = '\0';
		return 0;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	unsigned char bytes[SECRET_BYTES];
	char hex[2 * SECRET_BYTES + 1];
	random_bytes(bytes, sizeof(bytes));
	hex_write(bytes, sizeof(bytes), hex);
	r = file_write_durable(path, hex, strlen(hex), 0600, err);
	if (r == 0)
		*ret = xstrdup(hex);
	return r;
}

char *setup_local_url(const char *address)
{
	const char *port = strrchr(address, ':');
	bool any = str_starts(address, "0.0.0.0:") || address[0] == ':';
	if (any)
		return xasprintf("http://127.0.0.1%s", port);
	return str_starts(address, "[::]:") ? xasprintf("http://[::1]%s", port) : xasprintf("http://%s", address);
}

// Where the operator's configuration goes: the environment of a service manager may lack HOME.
static void ensure_home(void)
{
	const struct passwd *user = str_empty(getenv("HOME")) ? getpwuid(geteuid()) : NULL;
	if (user)
		setenv("HOME", user->pw_dir, 1);
}

// Opens name below parent and, if it is root's, gives it to the owner. A negative errno ends the descent.
static int give(int parent, const char *name, int flags, const struct stat *owner)
{
	AUTO_CLOSE int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	bool plain = S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink == 1);
	if (plain && st.st_uid == 0 && fchown(fd, owner->st_uid, owner->st_gid) < 0)
		return -errno;
	return TAKE_FD(fd);
}

// Under sudo with the user's HOME, the configuration is that user's.
static void give_config_to_owner(void)
{
	AUTO_CLOSE int home = open(getenv("HOME"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat owner;
	if (home < 0 || fstat(home, &owner) < 0 || owner.st_uid == 0)
		return;
	AUTO_CLOSE int config = give(home, ".config", O_DIRECTORY, &owner);
	AUTO_CLOSE int ours = config < 0 ? config : give(config, "dialtone", O_DIRECTORY, &owner);
	AUTO_CLOSE int file = ours < 0 ? ours : give(ours, "config.json", 0, &owner);
	(void)file;
}

int setup_operator(const struct platform *platform, struct err *err)
{
	AUTO_FREE char *token = NULL;
	AUTO_FREE char *url = platform_api(platform);
	int r = secret(platform->data, "operator", &token, err);
	if (r < 0)
		return r;
	ensure_home();
	r = client_config_store(url, token, platform->data, err);
	if (r == 0)
		give_config_to_owner();
	return r;
}

int setup_write(const struct platform *platform, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/platform.json", platform->data);
	AUTO_FREE char *text = platform_to_text(platform);
	AUTO_FREE char *node_token = NULL;
	int r = file_write_durable(path, text, strlen(text), 0600, err);
	if (r == 0)
		r = secret(platform->data, "node", &node_token, err);
	return r == 0 ? setup_operator(platform, err) : r;
}
