// Debian packages through mmdebstrap. Its "extract" variant resolves, verifies and unpacks, and runs no maintainer
// script: what a script would make and a layer needs, the recipe says. apt is shown a dpkg status in which the packages
// of the layers below, and those that the recipe goes without, are installed: so it takes only what is over them.
#include "image/making.h"

#include "base/buf.h"
#include "base/str.h"
#include "image/layer.h"
#include "io/file.h"
#include "io/process.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#define SUITE "bookworm"
#define INSTALL_TIMEOUT_MS (20u * 60 * 1000)
#define STATUS_MAX (16u << 20)
#define WITHOUT_FILE "var/lib/dpkg/without"

// mmdebstrap runs this with its root as the argument, at the stages "setup" and "extract". Packages are linked in from
// the cache and back into it.
static const char hook[] = "#!/bin/sh\n"
			   "set -eu\n"
			   "scratch=$(dirname \"$0\")\n"
			   "packages=$scratch/../../packages\n"
			   "archives=$1/var/cache/apt/archives\n"
			   "case $MMDEBSTRAP_HOOK in\n"
			   "setup)\n"
			   "	for d in bin sbin lib lib64; do mkdir -p \"$1/usr/$d\"; ln -s usr/$d \"$1/$d\"; done\n"
			   "	cp \"$scratch/status\" \"$1/var/lib/dpkg/status\"\n"
			   "	mkdir -p \"$archives\"\n"
			   "	find \"$packages\" -name '*.deb' -exec ln -t \"$archives\" {} +\n"
			   "	;;\n"
			   "extract)\n"
			   "	mkdir -p \"$1/var/lib/dpkg/status.d\"\n"
			   "	for deb in $MMDEBSTRAP_ESSENTIAL; do\n"
			   "		name=$(dpkg-deb -f \"$1$deb\" Package)\n"
			   "		dpkg-deb -f \"$1$deb\" > \"$1/var/lib/dpkg/status.d/$name\"\n"
			   "		echo \"$name $(dpkg-deb -f \"$1$deb\" Version)\" >> \"$scratch/installed\"\n"
			   "		ln \"$1$deb\" \"$packages\" 2> /dev/null || true\n"
			   "	done\n"
			   "	;;\n"
			   "esac\n";

// A control stanza becomes one of a dpkg status. The rest stays as it is: apt takes a version with other fields for
// another version.
static void add_installed(struct buf *status, const char *stanza)
{
	buf_add_str(status, "Status: install ok installed\n");
	buf_add_str(status, stanza);
	if (!str_ends(stanza, "\n"))
		buf_add_str(status, "\n");
	buf_add_str(status, "\n");
}

static int add_layer_status(const struct making *m, const char *digest, struct buf *status, struct err *err)
{
	AUTO_FREE char *root = layer_path(m->cache, digest);
	AUTO_FREE char *dir = xasprintf("%s/var/lib/dpkg/status.d", root);
	DIR *d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : err_set_errno(err, -errno, "cannot read '%s'", dir);
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		AUTO_FREE char *path = xasprintf("%s/%s", dir, e->d_name);
		AUTO_BUF struct buf stanza = BUF_INIT(STATUS_MAX);
		r = file_read(path, &stanza, err);
		if (r == 0)
			add_installed(status, buf_str(&stanza));
	}
	closedir(d);
	return r;
}

static bool is_listed(const struct lines *t, const char *text)
{
	for (size_t i = 0; i < t->n; i++)
		if (str_eq(t->items[i], text))
			return true;
	return false;
}

// A package that a recipe goes without is there as far as apt can see, unless this recipe asks for it.
static void add_without(const struct making *m, const char *name, struct buf *status)
{
	AUTO_FREE char *line = xasprintf("Package: %s\n", name);
	if (is_listed(&m->recipe->packages, name) || strstr(buf_str(status), line))
		return;
	buf_addf(status,
		 "%sStatus: install ok installed\nVersion: 9999:0\nArchitecture: all\nMulti-Arch: foreign\n"
		 "Maintainer: -\nDescription: -\n\n",
		 line);
}

// The layers below went without some packages, too: they say so in a file of theirs.
static int add_layer_without(const struct making *m, const char *digest, struct buf *status, struct err *err)
{
	AUTO_FREE char *root = layer_path(m->cache, digest);
	AUTO_FREE char *path = xasprintf("%s/" WITHOUT_FILE, root);
	AUTO_BUF struct buf text = BUF_INIT(STATUS_MAX);
	int r = file_read(path, &text, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	AUTO_FREE char *lines = buf_take(&text);
	for (char *at = lines; at && *at;)
		add_without(m, strsep(&at, "\n"), status);
	return 0;
}

static int write_status(const struct making *m, struct err *err)
{
	AUTO_BUF struct buf status = BUF_INIT(STATUS_MAX);
	int r = 0;
	for (size_t i = 0; i < m->n_below && r == 0; i++)
		r = add_layer_status(m, m->below[i], &status, err);
	for (size_t i = 0; i < m->n_below && r == 0; i++)
		r = add_layer_without(m, m->below[i], &status, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->recipe->without.n; i++)
		add_without(m, m->recipe->without.items[i], &status);
	AUTO_FREE char *path = xasprintf("%s/status", m->scratch);
	return file_write_atomic(path, buf_str(&status), buf_len(&status), 0644, err);
}

// The machine's own Debian sources (a mirror near it, perhaps) when they are of this suite; otherwise Debian's.
static int write_sources(const struct making *m, const char **ret_mirror, char **ret_path, struct err *err)
{
	static const char *const machine[] = { "/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list" };
	static const char fallback[] = "deb http://deb.debian.org/debian " SUITE " main\n"
				       "deb http://deb.debian.org/debian " SUITE "-updates main\n"
				       "deb http://deb.debian.org/debian-security " SUITE "-security main\n";
	for (size_t i = 0; i < ARRAY_LEN(machine); i++) {
		AUTO_BUF struct buf text = BUF_INIT(1 << 20);
		if (file_read(machine[i], &text, NULL) < 0 || !strstr(buf_str(&text), SUITE "-security"))
			continue;
		*ret_mirror = machine[i];
		return 0;
	}
	*ret_path = xasprintf("%s/debian.list", m->scratch);
	*ret_mirror = *ret_path;
	return file_write_atomic(*ret_path, fallback, strlen(fallback), 0644, err);
}

// The machine's settings for downloads (proxies, certificates, checks).
static int write_apt_settings(const char *path, struct err *err)
{
	static const char *const argv[] = { "apt-config",   "dump",    "--no-empty", "--format",
					    "%F \"%v\";%n", "Acquire", NULL };
	AUTO_BUF struct buf text = BUF_INIT(1 << 20);
	int status;
	int r = process_run(argv, &text, 10000, &status, err);
	if (r < 0)
		return r;
	if (status != 0)
		buf_reset(&text);
	buf_add_str(&text,
		    "Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nAPT::Install-Recommends \"false\";\n");
	return file_write_atomic(path, buf_str(&text), buf_len(&text), 0644, err);
}

static char *include_list(const struct making *m, bool locked)
{
	AUTO_BUF struct buf list = BUF_INIT(1 << 20);
	const char *comma = "";
	for (size_t i = 0; locked && i < m->lock->debian.n; i++, comma = ",")
		buf_addf(&list, "%s%s=%s", comma, m->lock->debian.items[i].key, m->lock->debian.items[i].value);
	for (size_t i = 0; !locked && i < m->recipe->packages.n; i++, comma = ",")
		buf_addf(&list, "%s%s", comma, m->recipe->packages.items[i]);
	return buf_take(&list);
}

static int compare_pairs(const void *a, const void *b)
{
	return strcmp(((const struct keyed_item *)a)->key, ((const struct keyed_item *)b)->key);
}

static int read_installed(struct making *m, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/installed", m->scratch);
	AUTO_BUF struct buf text = BUF_INIT(1 << 20);
	int r = file_read(path, &text, err);
	if (r < 0)
		return r;
	AUTO_FREE char *lines = buf_take(&text);
	for (char *at = lines; at && *at;) {
		char *line = strsep(&at, "\n");
		char *name = strsep(&line, " ");
		if (line)
			keyed_add(&m->resolved.debian, name, line);
	}
	if (m->resolved.debian.n)
		qsort(m->resolved.debian.items, m->resolved.debian.n, sizeof(struct keyed_item), compare_pairs);
	return 0;
}

static int bootstrap(struct making *m, bool locked, struct err *err)
{
	AUTO_FREE char *path = NULL;
	const char *mirror;
	int r = write_sources(m, &mirror, &path, err);
	if (r < 0)
		return r;
	AUTO_FREE char *settings = xasprintf("%s/apt.conf", m->scratch);
	r = write_apt_settings(settings, err);
	if (r < 0)
		return r;
	AUTO_FREE char *names = include_list(m, locked);
	AUTO_FREE char *include = xasprintf("--include=%s", names);
	AUTO_FREE char *aptopt = xasprintf("--aptopt=%s", settings);
	AUTO_FREE char *setup = xasprintf("--setup-hook=%s/hook", m->scratch);
	AUTO_FREE char *extract = xasprintf("--extract-hook=%s/hook", m->scratch);
	const char *const argv[] = { "mmdebstrap",
				     "--mode=root",
				     "--variant=extract",
				     "--format=directory",
				     include,
				     aptopt,
				     setup,
				     extract,
				     "--skip=download/empty",
				     "--skip=cleanup/apt",
				     "--skip=cleanup/reproducible",
				     SUITE,
				     m->root,
				     mirror,
				     NULL };
	return making_run(m->scratch, argv, INSTALL_TIMEOUT_MS, err);
}

static bool versions_gone(const struct err *err)
{
	return strstr(err->text, "was not found") || strstr(err->text, "nable to locate package") ||
	       strstr(err->text, "no installation candidate") || strstr(err->text, "unmet dependencies") ||
	       strstr(err->text, "held broken packages");
}

static bool lock_fits(const struct making *m)
{
	if (!m->lock || !m->lock->debian.n)
		return false;
	for (size_t i = 0; i < m->recipe->packages.n; i++)
		if (!keyed_get(&m->lock->debian, m->recipe->packages.items[i]))
			return false;
	return true;
}

static void say_changes(const struct making *m)
{
	for (size_t i = 0; m->lock && i < m->resolved.debian.n; i++) {
		const struct keyed_item *now = &m->resolved.debian.items[i];
		const char *before = keyed_get(&m->lock->debian, now->key);
		if (before && !str_eq(before, now->value))
			making_say(m, "%s: %s instead of %s, which the mirror no longer has", now->key, now->value,
				   before);
	}
}

static int prepare(struct making *m, struct err *err)
{
	AUTO_FREE char *packages = xasprintf("%s/packages", m->cache);
	AUTO_FREE char *script = xasprintf("%s/hook", m->scratch);
	int r = dir_make(packages, 0755, err);
	if (r == 0)
		r = write_status(m, err);
	if (r == 0)
		r = file_write_atomic(script, hook, strlen(hook), 0755, err);
	return r;
}

static int write_without(const struct making *m, struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(1 << 20);
	for (size_t i = 0; i < m->recipe->without.n; i++)
		buf_addf(&text, "%s\n", m->recipe->without.items[i]);
	AUTO_FREE char *path = xasprintf("%s/" WITHOUT_FILE, m->root);
	return buf_len(&text) ? file_write_atomic(path, buf_data(&text), buf_len(&text), 0644, err) : 0;
}

int making_debian(struct making *m, struct err *err)
{
	if (!m->recipe->packages.n)
		return 0;
	bool locked = lock_fits(m);
	if (m->strict && !locked)
		return err_set(err, -EINVAL, "the lock does not name every package of the recipe");
	making_say(m, "Debian packages: %zu", locked ? m->lock->debian.n : m->recipe->packages.n);
	struct err reason = { 0 };
	int r = prepare(m, &reason);
	if (r == 0)
		r = bootstrap(m, locked, &reason);
	if (r < 0 && locked && !m->strict && versions_gone(&reason)) {
		making_say(m, "the mirror no longer has all locked versions; resolving anew");
		locked = false;
		r = tree_remove(m->root, &reason);
		if (r == 0)
			r = bootstrap(m, false, &reason);
	}
	if (r == 0)
		r = read_installed(m, &reason);
	if (r == 0)
		r = write_without(m, &reason);
	if (r < 0) {
		if (err)
			*err = reason;
		err_wrap(err, "Debian packages");
		if (!reason.hint[0] && m->strict && versions_gone(&reason))
			return err_hint(err, "without --locked the versions that the mirror has now are taken");
		return reason.hint[0]
			       ? r
			       : err_hint(err, "check the network and the Debian mirror in /etc/apt (apt-get update)");
	}
	if (!locked)
		say_changes(m);
	return 0;
}
