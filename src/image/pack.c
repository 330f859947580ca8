#include "base/str.h"
#include "image/artifact-text.h"
#include "image/ignore.h"
#include "image/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct pack {
	const struct pack_options *options;
	struct artifact a;
	size_t room;
	uint64_t bytes;
};

static void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static struct artifact_entry *add_entry(struct pack *p, enum artifact_kind kind, const char *path)
{
	if (p->a.n == p->room) {
		p->room = p->room ? p->room * 2 : 256;
		p->a.entries = xreallocarray(p->a.entries, p->room, sizeof(*p->a.entries));
	}
	struct artifact_entry *e = &p->a.entries[p->a.n++];
	*e = (struct artifact_entry){ .kind = kind, .path = xstrdup(path) };
	return e;
}

static int pack_file(struct pack *p, int dirfd, const char *name, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set_errno(err, -errno, "cannot read '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "'%s' changed while it was packed", path);
	struct artifact_entry *e = add_entry(p, ARTIFACT_FILE, path);
	e->mode = st.st_mode & 0111 ? 0755 : 0644;
	int r = fd_digest(fd, &e->size, e->digest);
	if (r < 0)
		return err_set_errno(err, r, "cannot read '%s'", path);
	p->bytes += e->size;
	if (p->options->progress)
		p->options->progress(p->options->arg, p->a.n, p->bytes);
	return 0;
}

static int pack_link(struct pack *p, int dirfd, const char *name, const char *path, struct err *err)
{
	char target[ARTIFACT_PATH_MAX + 2];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_set_errno(err, -errno, "cannot read the link '%s'", path);
	target[n] = '\0';
	if (!artifact_link_inside(path, target)) {
		err_set(err, -EINVAL, "'%s' is a link to '%s', which leads out of the app's folder", path, target);
		return err_hint(err, "put a copy in its place, or name it in .dialtoneignore");
	}
	add_entry(p, ARTIFACT_LINK, path)->target = xstrdup(target);
	return 0;
}

static int pack_dir(struct pack *p, int dirfd, const char *path, const struct ignore *above, struct err *err);

static int pack_subdir(struct pack *p, int dirfd, const char *name, const char *path, const struct ignore *ignore,
		       struct err *err)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	size_t before = p->a.n;
	int r = pack_dir(p, TAKE_FD(fd), path, ignore, err);
	if (r == 0 && p->a.n == before)
		add_entry(p, ARTIFACT_DIR, path);
	return r;
}

static bool is_left_out(const struct pack *p, const char *path)
{
	for (const char *const *w = p->options->without; w && *w; w++)
		if (str_eq(*w, path))
			return true;
	return false;
}

static int pack_one(struct pack *p, int dirfd, const char *name, const char *path, const struct ignore *ignore,
		    struct err *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set_errno(err, -errno, "cannot look at '%s'", path);
	if (ignore_matches(ignore, path, S_ISDIR(st.st_mode)) || is_left_out(p, path))
		return 0;
	const char *fault = artifact_path_fault(path);
	if (fault)
		return err_set(err, -EINVAL, "cannot pack '%s': %s", path, fault);
	if (p->a.n > ARTIFACT_ENTRIES_MAX)
		return err_set(err, -E2BIG, "more than %d files", ARTIFACT_ENTRIES_MAX);
	if (S_ISDIR(st.st_mode))
		return pack_subdir(p, dirfd, name, path, ignore, err);
	if (S_ISLNK(st.st_mode))
		return pack_link(p, dirfd, name, path, err);
	if (S_ISREG(st.st_mode))
		return pack_file(p, dirfd, name, path, err);
	err_set(err, -EINVAL, "'%s' is a device, socket or FIFO; an artifact holds files, folders and links", path);
	return err_hint(err, "remove it, or name it in .dialtoneignore");
}

// Owns dirfd.
static int pack_dir(struct pack *p, int dirfd, const char *path, const struct ignore *above, struct err *err)
{
	CLEANUP(cleanup_closedir) DIR *d = fdopendir(dirfd);
	if (!d) {
		close(dirfd);
		return err_set_errno(err, -ENOMEM, "cannot read '%s'", path);
	}
	struct ignore *ignore = NULL;
	int r = p->options->no_ignore ? 0 : ignore_read(dirfd, path, above, &ignore, err);
	if (r < 0)
		return err_wrap(err, "folder '%s'", *path ? path : ".");

	struct dirent *entry;
	for (errno = 0; r == 0 && (entry = readdir(d)); errno = 0) {
		const char *name = entry->d_name;
		if (str_eq(name, ".") || str_eq(name, "..") || str_eq(name, ".git"))
			continue;
		AUTO_FREE char *below = *path ? xasprintf("%s/%s", path, name) : xstrdup(name);
		r = pack_one(p, dirfd, name, below, ignore, err);
	}
	if (r == 0 && errno)
		r = err_set_errno(err, -errno, "cannot read the folder '%s'", *path ? path : ".");
	ignore_free(ignore);
	return r;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct artifact_entry *)a)->path, ((const struct artifact_entry *)b)->path);
}

int artifact_pack(const char *dir, const struct pack_options *options, struct artifact *ret, struct err *err)
{
	static const struct pack_options none;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open the folder '%s'", dir);
	struct pack p = { .options = options ? options : &none };
	int r = pack_dir(&p, fd, "", NULL, err);
	if (r == 0) {
		if (p.a.n)
			qsort(p.a.entries, p.a.n, sizeof(*p.a.entries), compare_entries);
		r = artifact_write_text(&p.a, err);
	}
	if (r < 0) {
		artifact_clear(&p.a);
		return err_wrap(err, "packing '%s'", dir);
	}
	*ret = p.a;
	return 0;
}

// What is there beside what the manifest lists shows as a different digest of the whole; this finds the first place.
static int name_difference(const struct artifact *want, const struct artifact *have, const char *root, struct err *err)
{
	for (size_t i = 0; i < want->n || i < have->n; i++) {
		const struct artifact_entry *w = i < want->n ? &want->entries[i] : NULL;
		const struct artifact_entry *h = i < have->n ? &have->entries[i] : NULL;
		int order = !w ? 1 : !h ? -1 : strcmp(w->path, h->path);
		if (order < 0)
			return err_set(err, -EBADMSG, "'%s/app/%s' is missing", root, w->path);
		if (order > 0)
			return err_set(err, -EBADMSG, "'%s/app/%s' does not belong there", root, h->path);
		bool same = w->kind == h->kind && w->mode == h->mode && w->size == h->size &&
			    str_eq(w->digest, h->digest) && (!w->target || str_eq(w->target, h->target));
		if (!same)
			return err_set(err, -EBADMSG, "'%s/app/%s' is corrupted: not the content it was unpacked with",
				       root, w->path);
	}
	return err_set(err, -EBADMSG, "'%s' differs from its manifest", root);
}

int artifact_verify(const struct artifact *a, const char *root, struct err *err)
{
	AUTO_FREE char *app = xasprintf("%s/app", root);
	AUTO_ARTIFACT struct artifact have = { 0 };
	struct pack_options options = { .no_ignore = true };
	int r = artifact_pack(app, &options, &have, err);
	if (r < 0)
		return r;
	return str_eq(have.digest, a->digest) ? 0 : name_difference(a, &have, root, err);
}
