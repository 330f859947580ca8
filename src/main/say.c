#include "main/say.h"

#include "base/str.h"
#include "cli/cli.h"

#include <fcntl.h>

#define TAIL_BYTES 8192

int say_error(const struct err *err)
{
	return cli_report(CLI_FAILED, err, NULL, NULL, NULL);
}

void say_log(const char *data, const char *part, unsigned lines)
{
	AUTO_FREE char *path = xasprintf("%s/log/%s.log", data, part);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[TAIL_BYTES + 1];
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	ssize_t n = end > 0 ? pread(fd, text, TAIL_BYTES, end > TAIL_BYTES ? end - TAIL_BYTES : 0) : 0;
	if (n <= 0 || cli_errors_as_json())
		return;
	text[n] = '\0';
	char *from = text + n;
	for (unsigned seen = 0; from > text; from--)
		if (from[-1] == '\n' && from < text + n && ++seen == lines)
			break;
	fprintf(stderr, "last lines of %s:\n", path);
	char *rest = NULL;
	for (char *line = strtok_r(from, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		fprintf(stderr, "  %s\n", line);
}
