#include "image/making.h"

#include "base/buf.h"
#include "base/str.h"
#include "image/ignore.h"
#include "image/layer.h"
#include "io/file.h"
#include "io/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RUN_TIMEOUT_MS (10u * 60 * 1000)
#define WORDS_MAX 64
#define BUNDLE_MAX (16u << 20)

void making_say(const struct making *m, const char *fmt, ...)
{
	char line[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (m->options->progress)
		m->options->progress(m->options->arg, line);
}

// What went wrong, of all that a tool printed: its lines that begin with "E:" or "error", or else its last ones.
static char *tool_reason(const char *output)
{
	AUTO_BUF struct buf text = BUF_INIT(700);
	unsigned found = 0;
	for (const char *line = output; *line && found < 3;) {
		size_t n = strcspn(line, "\n");
		bool apt = str_starts(line, "E: ") && !str_starts(line, "E: apt") && !str_starts(line, "E: mmdebstrap");
		if (apt || str_starts(line, "npm error") || str_starts(line, "error: "))
			found += buf_addf(&text, "%s%.*s", buf_len(&text) ? "; " : "", (int)n, line) == 0;
		line += n + (line[n] != '\0');
	}
	size_t all = strlen(output), last = all > 400 ? all - 400 : 0;
	return buf_len(&text) ? buf_take(&text) : xstrdup(output + last);
}

int making_run(const char *dir, const char *const *argv, unsigned timeout_ms, struct err *err)
{
	static const char script[] =
		"umask 022; cd \"$1\"; shift; exec env LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=1577836800 "
		"DEBIAN_FRONTEND=noninteractive \"$@\"";
	const char *all[WORDS_MAX + 8] = { "sh", "-euc", script, "sh", dir };
	const char *name = argv[0];
	size_t n = 5;
	for (; *argv && n < ARRAY_LEN(all) - 1; argv++)
		all[n++] = *argv;
	AUTO_BUF struct buf output = BUF_INIT(4u << 20);
	int status;
	int r = process_run(all, &output, timeout_ms, &status, err);
	if (r < 0 || status == 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		err_set(err, -ENOENT, "'%s' is not installed on this machine", name);
		return err_hint(err, "apt-get install %s", str_eq(name, "unshare") ? "util-linux" : name);
	}
	AUTO_FREE char *reason = tool_reason(buf_str(&output));
	return err_set(err, -EIO, "%s failed: %s", name, reason);
}

// --- what is put in
// ----------------------------------------------------------------------------------------------------

// Folders that have to be made get mode 755 whatever the umask is; those that are there stay as they are.
static int make_folder(const struct making *m, const char *path, struct err *err)
{
	AUTO_FREE char *whole = xasprintf("%s/%s/", m->root, path);
	for (char *slash = strchr(whole + strlen(m->root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(whole, 0755) == 0)
			chmod(whole, 0755);
		else if (errno != EEXIST)
			return err_set_errno(err, -errno, "cannot make '%s'", whole);
		*slash = '/';
	}
	return 0;
}

int making_parent(const struct making *m, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *parent = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	return make_folder(m, parent, err);
}

static int put_directories(const struct making *m, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < m->recipe->directories.n && r == 0; i++) {
		const char *text = m->recipe->directories.items[i];
		const char *path = strchr(text, '/');
		if (!path)
			return err_set(err, -EINVAL, "directories: '%s' is not PATH or MODE PATH", text);
		r = make_folder(m, path, err);
		AUTO_FREE char *whole = xasprintf("%s%s", m->root, path);
		mode_t mode = path > text ? (mode_t)strtoul(text, NULL, 8) : 0755;
		if (r == 0 && chmod(whole, mode) < 0)
			r = err_set_errno(err, -errno, "cannot set the mode of '%s'", whole);
	}
	return r;
}

static int put_bytes(const struct making *m, const char *path, const char *bytes, size_t n, struct err *err)
{
	AUTO_FREE char *whole = xasprintf("%s%s%s", m->root, *path == '/' ? "" : "/", path);
	int r = making_parent(m, path, err);
	if (r == 0)
		r = file_write_atomic(whole, bytes, n, 0644, err);
	if (r == 0 && chmod(whole, n > 2 && bytes[0] == '#' && bytes[1] == '!' ? 0755 : 0644) < 0)
		r = err_set_errno(err, -errno, "cannot set the mode of '%s'", whole);
	return r;
}

static int put_files(const struct making *m, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < m->recipe->files.n && r == 0; i++) {
		const struct keyed_item *f = &m->recipe->files.items[i];
		r = put_bytes(m, f->key, f->value, strlen(f->value), err);
	}
	return r;
}

static int put_links(const struct making *m, struct err *err)
{
	for (size_t i = 0; i < m->recipe->links.n; i++) {
		const struct keyed_item *l = &m->recipe->links.items[i];
		AUTO_FREE char *whole = xasprintf("%s%s", m->root, l->key);
		int r = making_parent(m, l->key, err);
		if (r < 0)
			return r;
		r = tree_remove(whole, err);
		if (r < 0)
			return r;
		if (symlink(l->value, whole) < 0)
			return err_set_errno(err, -errno, "cannot make the link '%s'", whole);
	}
	return 0;
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_certificates(const char *dir, struct lines *ret, struct err *err)
{
	DIR *d = opendir(dir);
	if (!d)
		return err_set_errno(err, -errno, "cannot read '%s'", dir);
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		AUTO_FREE char *path = xasprintf("%s/%s", dir, e->d_name);
		if (e->d_name[0] == '.')
			continue;
		if (e->d_type == DT_DIR)
			r = list_certificates(path, ret, err);
		else if (str_ends(path, ".crt"))
			lines_add(ret, path);
	}
	closedir(d);
	return r;
}

// As update-ca-certificates does: one file with all, in the order of their names.
static int put_certificates(const struct making *m, struct err *err)
{
	if (!m->recipe->certificates)
		return 0;
	CLEANUP(lines_clear) struct lines paths = { 0 };
	AUTO_FREE char *dir = xasprintf("%s/usr/share/ca-certificates", m->root);
	int r = list_certificates(dir, &paths, err);
	if (r == 0 && !paths.n)
		r = err_set(err, -ENOENT, "no certificates in '%s'; is ca-certificates among the packages?", dir);
	if (r < 0)
		return r;
	qsort(paths.items, paths.n, sizeof(*paths.items), compare_text);
	AUTO_BUF struct buf bundle = BUF_INIT(BUNDLE_MAX);
	for (size_t i = 0; i < paths.n && r == 0; i++) {
		r = file_read(paths.items[i], &bundle, err);
		if (r == 0 && !str_ends(buf_str(&bundle), "\n"))
			buf_add_str(&bundle, "\n");
	}
	return r < 0 ? r : put_bytes(m, m->recipe->certificates, buf_data(&bundle), buf_len(&bundle), err);
}

static int put_keystore(const struct making *m, struct err *err)
{
	if (!m->recipe->keystore)
		return 0;
	for (size_t i = 0; i < m->n_below; i++) {
		AUTO_FREE char *root = layer_path(m->cache, m->below[i]);
		AUTO_FREE char *bundle = xasprintf("%s/etc/ssl/certs/ca-certificates.crt", root);
		if (file_exists(bundle) != 1)
			continue;
		AUTO_FREE char *to = xasprintf("%s%s", m->root, m->recipe->keystore);
		int r = making_parent(m, m->recipe->keystore, err);
		if (r == 0)
			r = keystore_write(bundle, to, err);
		if (r == 0 && chmod(to, 0644) < 0)
			r = err_set_errno(err, -errno, "cannot set the mode of '%s'", to);
		return r;
	}
	return err_set(err, -ENOENT, "keystore: no layer below has /etc/ssl/certs/ca-certificates.crt");
}

// --- commands
// -----------------------------------------------------------------------------------------------------------

static char *lower_dirs(const struct making *m)
{
	AUTO_BUF struct buf text = BUF_INIT(1 << 16);
	for (size_t i = 0; i < m->n_below; i++) {
		AUTO_FREE char *root = layer_path(m->cache, m->below[i]);
		buf_addf(&text, "%s%s", i ? ":" : "", root);
	}
	return buf_take(&text);
}

// In namespaces of its own: no network, mounts that end with it, and nothing of the machine's environment.
static int run_inside(const struct making *m, const char *command, struct err *err)
{
	static const char script[] =
		"mkdir -p work merged\n"
		"mount -t overlay overlay -o \"lowerdir=$1,upperdir=$2,workdir=work\" merged\n"
		"mount -t proc proc merged/proc\n"
		"mount -t tmpfs tmpfs merged/dev\n"
		"for d in null zero urandom; do : > merged/dev/$d; mount --bind /dev/$d merged/dev/$d; done\n"
		"shift 2\n"
		"exec env -i PATH=/usr/local/bin:/usr/bin:/usr/sbin HOME=/root LC_ALL=C.UTF-8 "
		"SOURCE_DATE_EPOCH=1577836800 "
		"PYTHONHASHSEED=0 chroot merged \"$@\"\n";
	AUTO_FREE char *lower = lower_dirs(m);
	AUTO_FREE char *words = xstrdup(command);
	const char *argv[WORDS_MAX + 1] = { "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
					    "sh",      "-euc",    script,  "sh",    lower,    m->root };
	size_t n = 12;
	for (char *at = words, *word; (word = strsep(&at, " "));)
		if (*word && n < WORDS_MAX)
			argv[n++] = word;
	int r = making_run(m->scratch, argv, RUN_TIMEOUT_MS, err);
	return r < 0 ? err_wrap(err, "command '%s' in the layer", command) : 0;
}

static int run_commands(const struct making *m, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < m->recipe->run.n && r == 0; i++)
		r = m->n_below ? run_inside(m, m->recipe->run.items[i], err)
			       : err_set(err, -EINVAL, "run: only in a layer over a stack");
	return r;
}

// --- what does not stay
// -------------------------------------------------------------------------------------------------

// What belongs to a machine, to its package manager or to a reader of manuals.
static const char *const never[] = {
	"dev/*",
	"proc/*",
	"sys/*",
	"tmp/*",
	"run/*",
	"var/cache/*",
	"var/log/*",
	"var/tmp/*",
	"var/backups/*",
	"etc/apt",
	"etc/fstab",
	"etc/hostname",
	"etc/resolv.conf",
	"etc/dpkg/dpkg.cfg.d",
	"etc/cron.*",
	"etc/init.d",
	"etc/logrotate.d",
	"etc/update-motd.d",
	"etc/machine-id",
	"etc/ld.so.cache",
	"var/lib/apt",
	"root/.*",
	"usr/lib/systemd",
	"usr/lib/tmpfiles.d",
	"usr/lib/sysusers.d",
	"usr/share/man",
	"usr/share/info",
	"usr/share/locale",
	"usr/share/lintian",
	"usr/share/doc-base",
	"usr/share/bash-completion",
	"usr/share/bug",
	"usr/share/menu",
	"usr/share/debianutils",
	"usr/share/gdb",
	"usr/share/apport",
	"usr/share/applications",
	"usr/share/pixmaps",
	"**/__pycache__/*.pyc.*",
};

static bool has_key(const struct keyed *p, const char *path)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].key[0] == '/' && str_eq(p->items[i].key + 1, path))
			return true;
	return false;
}

static bool goes(const struct making *m, const char *path, bool is_dir)
{
	// What the recipe itself put there stays, but for what its commands needed.
	if (!str_starts(path, "tmp/") && (has_key(&m->recipe->files, path) || has_key(&m->recipe->links, path)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (ignore_glob(never[i], path))
			return true;
	for (size_t i = 0; i < m->recipe->drop.n; i++) {
		const char *pattern = m->recipe->drop.items[i];
		if (ignore_glob(pattern + (*pattern == '/'), path))
			return true;
	}
	if (ignore_glob("var/lib/dpkg/*", path))
		return !str_eq(path, "var/lib/dpkg/status.d") && !str_eq(path, "var/lib/dpkg/without");
	// Of the documentation the licences stay.
	return !is_dir && ignore_glob("usr/share/doc/*/**", path) && !ignore_glob("usr/share/doc/*/copyright", path);
}

static bool is_wanted_folder(const struct making *m, const char *path)
{
	for (size_t i = 0; i < m->recipe->directories.n; i++) {
		const char *listed = strchr(m->recipe->directories.items[i], '/');
		if (listed && str_eq(listed + 1, path))
			return true;
	}
	return false;
}

static int prune(const struct making *m, int fd, const char *path, struct err *err);

static int prune_one(const struct making *m, int dir, const struct dirent *e, const char *path, struct err *err)
{
	bool is_dir = e->d_type == DT_DIR;
	if (goes(m, path, is_dir)) {
		AUTO_FREE char *whole = xasprintf("%s/%s", m->root, path);
		return tree_remove(whole, err);
	}
	if (!is_dir)
		return 0;
	int fd = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? err_set_errno(err, -errno, "cannot open '%s/%s'", m->root, path) : prune(m, fd, path, err);
	// Folders that only repeat those of the stack below, and ones that were emptied.
	if (r == 0 && (m->n_below || str_starts(path, "usr/")) && !is_wanted_folder(m, path))
		unlinkat(dir, e->d_name, AT_REMOVEDIR);
	return r;
}

// Owns fd.
static int prune(const struct making *m, int fd, const char *path, struct err *err)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_set_errno(err, -ENOMEM, "cannot read '%s'", path);
	}
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		AUTO_FREE char *below = *path ? xasprintf("%s/%s", path, e->d_name) : xstrdup(e->d_name);
		r = prune_one(m, fd, e, below, err);
	}
	closedir(d);
	return r;
}

static int remove_rest(const struct making *m, struct err *err)
{
	static const char *const merged[] = { "bin", "sbin", "lib", "lib64" };
	for (size_t i = 0; m->n_below && i < ARRAY_LEN(merged); i++) {
		// The stack has these links already.
		AUTO_FREE char *path = xasprintf("%s/%s", m->root, merged[i]);
		unlink(path);
	}
	int fd = open(m->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0755) < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", m->root);
	return prune(m, fd, "", err);
}

int making_finish(struct making *m, struct err *err)
{
	int r = put_directories(m, err);
	if (r == 0)
		r = put_files(m, err);
	if (r == 0)
		r = put_links(m, err);
	if (r == 0)
		r = put_certificates(m, err);
	if (r == 0)
		r = put_keystore(m, err);
	if (r == 0)
		r = run_commands(m, err);
	return r < 0 ? r : remove_rest(m, err);
}
