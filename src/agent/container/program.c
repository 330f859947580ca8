#include "agent/container/program.h"

#include "base/str.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

// Opens a path as processes inside will resolve it, links included.
static int open_inside(int root, const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_IN_ROOT };
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

// What a program needs to run: the interpreter behind its "#!", or its dynamic loader.
struct need {
	char *file; // heap; NULL: nothing
	bool loader;
};

static void need_clear(struct need *need)
{
	free(need->file);
}

// The file that PT_INTERP names (elf(5)). Anything strange is left for execve(2) to judge.
static void look_for_loader(int fd, struct need *ret)
{
	Elf64_Ehdr elf;
	if (pread(fd, &elf, sizeof(elf), 0) != sizeof(elf) || elf.e_ident[EI_CLASS] != ELFCLASS64)
		return;
	for (unsigned i = 0; i < elf.e_phnum; i++) {
		Elf64_Phdr part;
		char name[256] = "";
		off_t at = (off_t)(elf.e_phoff + (uint64_t)i * elf.e_phentsize);
		if (pread(fd, &part, sizeof(part), at) != sizeof(part))
			return;
		if (part.p_type != PT_INTERP)
			continue;
		if (part.p_filesz < sizeof(name) && pread(fd, name, part.p_filesz, (off_t)part.p_offset) > 0 && name[0] == '/')
			*ret = (struct need){ .file = xstrdup(name), .loader = true };
		return;
	}
}

// 0, or a negative errno.
static int look(int root, const char *path, struct need *ret)
{
	AUTO_CLOSE int fd = open_inside(root, path);
	if (fd < 0)
		return fd;
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return -EACCES;
	char line[256];
	ssize_t n = pread(fd, line, sizeof(line) - 1, 0);
	if (n > SELFMAG && memcmp(line, ELFMAG, SELFMAG) == 0)
		look_for_loader(fd, ret);
	if (n < 3 || memcmp(line, "#!", 2) != 0)
		return 0;
	line[n] = '\0';
	char *start = line + 2 + strspn(line + 2, " \t");
	start[strcspn(start, " \t\r\n")] = '\0';
	*ret = (struct need){ .file = xstrdup(start) };
	return 0;
}

static int check_file(int root, const char *path, struct err *err)
{
	CLEANUP(need_clear) struct need need = { 0 };
	int r = look(root, path, &need);
	if (r == -EACCES) {
		err_set(err, -ENOEXEC, "'%s' is not a program: it is no file, or not executable", path);
		err_hint(err, "make it executable with chmod +x before the push");
		return -ENOEXEC;
	}
	if (r < 0)
		return err_set(err, -ENOEXEC, "there is no program '%s' (%s)", path, strerror(-r));
	CLEANUP(need_clear) struct need further = { 0 };
	if (!need.file || look(root, need.file, &further) == 0)
		return 0;
	err_set(err, -ENOEXEC, "'%s' needs the %s '%s', which is not in the container", path,
		need.loader ? "dynamic loader" : "interpreter", need.file);
	if (need.loader)
		err_hint(err, "link it statically, or choose a runtime or stack that has it");
	else
		err_hint(err, "choose a runtime or stack that has it, for example stack 'shell' for /bin/sh");
	return -ENOEXEC;
}

static const char *path_of(const char *const *env)
{
	for (; env && *env; env++)
		if (str_starts(*env, "PATH="))
			return *env + 5;
	return PATH_DEFAULT;
}

static int search_path(int root, const char *path, const char *word, struct err *err)
{
	AUTO_FREE char *folders = xstrdup(path);
	char *rest = NULL;
	for (char *folder = strtok_r(folders, ":", &rest); folder; folder = strtok_r(NULL, ":", &rest)) {
		AUTO_FREE char *file = xasprintf("%s/%s", folder, word);
		CLEANUP(need_clear) struct need need = { 0 };
		if (look(root, file, &need) == 0)
			return check_file(root, file, err);
	}
	err_set(err, -ENOEXEC, "there is no program '%s' on the container's PATH (%s)", word, path);
	err_hint(err, "a program of the application's own is written ./%s; others come with the runtime or the stack", word);
	return -ENOEXEC;
}

int program_check(const char *rootfs, const char *cwd, const char *const *env, const char *word, struct err *err)
{
	AUTO_CLOSE int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", rootfs);
	if (!strchr(word, '/'))
		return search_path(root, path_of(env), word, err);
	const char *plain = str_starts(word, "./") ? word + 2 : word;
	AUTO_FREE char *file = word[0] == '/' ? xstrdup(word) : xasprintf("%s/%s", cwd ? cwd : "", plain);
	return check_file(root, file, err);
}
