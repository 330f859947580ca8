#include "agent/endpoint.h"

#include "base/str.h"
#include "model/json.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

enum { WORDS_MAX = 1000, ENV_MAX = 1000 };

// Words come as the person's own shell left them: a dollar in them is a dollar.
static char *literal(const char *word)
{
	char *out = xmalloc(2 * strlen(word) + 1), *to = out;
	for (; *word; word++) {
		if (*word == '$')
			*to++ = '$';
		*to++ = *word;
	}
	*to = '\0';
	return out;
}

static int parse_words(const json_t *json, struct command_request *ret, struct err *err)
{
	const json_t *command = json_object_get(json, "command");
	size_t n = json_array_size(command);
	if (n == 0 || n > WORDS_MAX)
		return err_set(err, -EINVAL, "command must be a list of 1 to %d words", WORDS_MAX);
	ret->words = xcalloc(n + 1, sizeof(*ret->words));
	for (size_t i = 0; i < n; i++) {
		const char *word = json_string_value(json_array_get(command, i));
		if (!word)
			return err_set(err, -EINVAL, "command.%zu must be a text", i);
		ret->words[i] = literal(word);
	}
	return 0;
}

static int parse_env(const json_t *json, struct command_request *ret, struct err *err)
{
	json_t *env = json_object_get(json, "env");
	size_t n = json_object_size(env);
	const char *name;
	json_t *value;
	if (n > ENV_MAX)
		return err_set(err, -EINVAL, "env has more than %d entries", ENV_MAX);
	ret->env = xcalloc(n + 1, sizeof(*ret->env));
	json_object_foreach(env, name, value) {
		const char *wrong = check_env_name(name);
		if (wrong || !json_is_string(value))
			return err_set(err, -EINVAL, "env.%s %s", name, wrong ? wrong : "must be a text");
		ret->env[ret->n_env++] = (struct pair){ xstrdup(name), xstrdup(json_string_value(value)) };
	}
	return 0;
}

int command_request_parse(const json_t *json, struct command_request *ret, struct err *err)
{
	struct command_request request = {
		.tty = json_get_bool(json, "tty", false),
		.cols = (uint16_t)json_get_u64(json, "cols", 80),
		.rows = (uint16_t)json_get_u64(json, "rows", 24),
	};
	int r = parse_words(json, &request, err);
	if (r == 0)
		r = parse_env(json, &request, err);
	if (r < 0)
		command_request_clear(&request);
	else
		*ret = request;
	return r;
}

void command_request_clear(struct command_request *request)
{
	for (char **word = request->words; word && *word; word++)
		free(*word);
	free(request->words);
	for (uint32_t i = 0; i < request->n_env; i++) {
		free(request->env[i].name);
		free(request->env[i].value);
	}
	free(request->env);
	*request = (struct command_request){ 0 };
}

int stdio_open(struct stdio *stdio, struct err *err)
{
	*stdio = STDIO_INIT;
	for (int i = 0; i < 3; i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0) {
			int code = -errno;
			stdio_close(stdio);
			return err_set_errno(err, code, "pipe");
		}
		stdio->ours[i] = ends[i == 0];
		stdio->theirs[i] = ends[i != 0];
	}
	return 0;
}

static void close_three(int fds[3])
{
	for (int i = 0; i < 3; i++) {
		cleanup_close(&fds[i]);
		fds[i] = -1;
	}
}

void stdio_close_theirs(struct stdio *stdio)
{
	close_three(stdio->theirs);
}

void stdio_close(struct stdio *stdio)
{
	close_three(stdio->ours);
	close_three(stdio->theirs);
}

int exit_code(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}
