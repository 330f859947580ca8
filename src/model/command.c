#include "model/command.h"

#include "base/buf.h"
#include "base/str.h"

#include <errno.h>

#define LINE_MAX_BYTES (32 << 10)
#define WORDS_MAX 1000
#define EXPANDED_MAX (1 << 20)

void words_clear(struct words *words)
{
	for (uint32_t i = 0; i < words->count; i++)
		free(words->items[i]);
	free(words->items);
	*words = (struct words){ 0 };
}

static void words_add(struct words *words, char *word)
{
	if ((words->count & (words->count - 1)) == 0)
		words->items = xreallocarray(words->items, words->count ? words->count * 2 : 1, sizeof(char *));
	words->items[words->count++] = word;
}

struct splitter {
	const char *at;
	struct words words;
	struct buf word;
	bool in_word; // also an empty one, by quotes
	struct err *err;
};

static void put(struct splitter *splitter, char c)
{
	buf_add(&splitter->word, &c, 1);
	splitter->in_word = true;
}

// A character that means itself, also if it is a dollar sign.
static void put_literal(struct splitter *splitter, char c)
{
	if (c == '$')
		put(splitter, '$');
	put(splitter, c);
}

static int end_word(struct splitter *splitter)
{
	if (!splitter->in_word)
		return 0;
	if (splitter->words.count == WORDS_MAX)
		return err_set(splitter->err, -EINVAL, "command has more than %d words", WORDS_MAX);
	words_add(&splitter->words, xstrdup(buf_str(&splitter->word)));
	buf_reset(&splitter->word);
	splitter->in_word = false;
	return 0;
}

// Why what stands at text, outside of quotes, is the shell's business; NULL when it is not.
static const char *shell_operator(const char *text)
{
	static const struct {
		const char *token, *hint;
	} operators[] = {
		{ "&&", "start one program; do what comes before it in the build, or in the program" },
		{ "||", "start one program" },
		{ "|", "start one program; it writes its logs to standard output" },
		{ "&", "start one program; give a second one its own entry under processes" },
		{ ";", "start one program; give a second one its own entry under processes" },
		{ "\n", "write the command as one line" },
		{ ">", "leave it out: standard output and standard error are the log" },
		{ "<", "let the program open the file" },
		{ "(", "start one program" },
		{ ")", "start one program" },
		{ "`", "put the value under env, or let the program find it" },
		{ "*", "name the files, or put the word in single quotes if the program is to see the star" },
	};
	for (size_t i = 0; i < ARRAY_LEN(operators); i++)
		if (str_starts(text, operators[i].token))
			return operators[i].hint;
	return NULL;
}

static int refuse(struct splitter *splitter, const char *what, int n, const char *hint)
{
	err_set(splitter->err, -EOPNOTSUPP, "command uses '%.*s', which needs a shell", n, *what == '\n' ? " " : what);
	if (*what == '\n')
		err_set(splitter->err, -EOPNOTSUPP, "command has a line break, which needs a shell");
	err_hint(splitter->err, "%s; or choose a stack that has a shell", hint);
	return -EOPNOTSUPP;
}

static int refuse_operator(struct splitter *splitter, const char *hint)
{
	const char *at = splitter->at;
	bool two = (at[0] == '&' || at[0] == '|') && at[0] == at[1];
	return refuse(splitter, at, two ? 2 : 1, hint);
}

static int refuse_substitution(struct splitter *splitter)
{
	return refuse(splitter, splitter->at, *splitter->at == '$' ? 2 : 1,
		      "put the value under env, or let the program find it");
}

static bool is_substitution(const char *at)
{
	return *at == '`' || (at[0] == '$' && at[1] == '(');
}

static int take_single_quotes(struct splitter *splitter)
{
	splitter->in_word = true;
	const char *end = strchr(++splitter->at, '\'');
	if (!end)
		return err_set(splitter->err, -EINVAL, "command has a single quote that is not closed");
	for (; splitter->at < end; splitter->at++)
		put_literal(splitter, *splitter->at);
	splitter->at++;
	return 0;
}

static int take_double_quotes(struct splitter *splitter)
{
	splitter->in_word = true;
	splitter->at++;
	while (*splitter->at && *splitter->at != '"') {
		if (is_substitution(splitter->at))
			return refuse_substitution(splitter);
		bool escape = *splitter->at == '\\' && splitter->at[1] && strchr("$`\"\\", splitter->at[1]);
		splitter->at += escape;
		if (escape)
			put_literal(splitter, *splitter->at);
		else
			put(splitter, *splitter->at);
		splitter->at++;
	}
	if (!*splitter->at)
		return err_set(splitter->err, -EINVAL, "command has a double quote that is not closed");
	splitter->at++;
	return 0;
}

static int take_backslash(struct splitter *splitter)
{
	if (!splitter->at[1])
		return err_set(splitter->err, -EINVAL, "command ends in a backslash");
	if (splitter->at[1] != '\n') // backslash and line break: one line goes on
		put_literal(splitter, splitter->at[1]);
	splitter->at += 2;
	return 0;
}

// ${…} is taken whole: its fallback may hold anything but a closing brace.
static int take_braces(struct splitter *splitter)
{
	const char *end = strchr(splitter->at, '}');
	if (!end)
		return err_set(splitter->err, -EINVAL, "command has a '${' that is not closed");
	for (; splitter->at <= end; splitter->at++)
		put(splitter, *splitter->at);
	return 0;
}

static int take_one(struct splitter *splitter)
{
	char c = *splitter->at;
	if (c == ' ' || c == '\t' || c == '\r') {
		splitter->at++;
		return end_word(splitter);
	}
	if (c == '\'')
		return take_single_quotes(splitter);
	if (c == '"')
		return take_double_quotes(splitter);
	if (c == '\\')
		return take_backslash(splitter);
	if (is_substitution(splitter->at))
		return refuse_substitution(splitter);
	if (c == '$' && splitter->at[1] == '{')
		return take_braces(splitter);
	const char *hint = shell_operator(splitter->at);
	if (hint)
		return refuse_operator(splitter, hint);
	put(splitter, c);
	splitter->at++;
	return 0;
}

static size_t name_length(const char *text)
{
	if (*text >= '0' && *text <= '9')
		return 0;
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
}

static int check_first(struct splitter *splitter)
{
	static const char *const builtins[] = {
		"cd", "export", "source", ".", "set", "exec", "eval", "ulimit", "umask"
	};
	if (!splitter->words.count)
		return err_set(splitter->err, -EINVAL, "command is empty");
	const char *word = splitter->words.items[0];
	size_t n = name_length(word);
	if (n && word[n] == '=') {
		err_set(splitter->err, -EOPNOTSUPP, "command begins with '%.*s=', which needs a shell", (int)n, word);
		err_hint(splitter->err, "put %.*s under env; or choose a stack that has a shell", (int)n, word);
		return -EOPNOTSUPP;
	}
	for (size_t i = 0; i < ARRAY_LEN(builtins); i++) {
		if (!str_eq(word, builtins[i]))
			continue;
		return refuse(splitter, word, (int)strlen(word),
			      str_eq(word, "exec") ? "leave 'exec' out: the program is started without a shell"
						   : "start one program");
	}
	return 0;
}

static int split(struct splitter *splitter, const char *line)
{
	size_t n = strlen(line);
	if (n > LINE_MAX_BYTES)
		return err_set(splitter->err, -EINVAL, "command is longer than %d bytes", LINE_MAX_BYTES);
	while (n && strchr(" \t\r\n", line[n - 1]))
		n--;
	AUTO_FREE char *trimmed = xstrndup(line, n);
	splitter->at = trimmed + strspn(trimmed, " \t\r\n");
	int r = 0;
	while (*splitter->at && r >= 0)
		r = take_one(splitter);
	if (r >= 0)
		r = end_word(splitter);
	return r < 0 ? r : check_first(splitter);
}

static void splitter_clear(struct splitter *splitter)
{
	words_clear(&splitter->words);
	buf_clear(&splitter->word);
}

static void use_shell(struct splitter *splitter, const char *line)
{
	words_clear(&splitter->words);
	buf_reset(&splitter->word);
	words_add(&splitter->words, xstrdup("/bin/sh"));
	words_add(&splitter->words, xstrdup("-c"));
	for (; *line; line++)
		put_literal(splitter, *line);
	words_add(&splitter->words, xstrdup(buf_str(&splitter->word)));
}

int command_split(const char *line, bool shell, struct words *ret, struct err *err)
{
	CLEANUP(splitter_clear) struct splitter splitter = { .word = BUF_INIT(4 * LINE_MAX_BYTES), .err = err };
	int r = split(&splitter, line);
	if (r == -EOPNOTSUPP && shell) {
		use_shell(&splitter, line);
		r = 0;
	}
	if (r < 0)
		return r;
	*ret = splitter.words;
	splitter.words = (struct words){ 0 };
	return 0;
}

struct expansion {
	command_lookup lookup;
	void *arg;
	struct buf word;
	size_t bytes; // of all words
	struct err *err;
};

static int put_value(struct expansion *expansion, const char *name, const char *fallback)
{
	const char *value = expansion->lookup(expansion->arg, name);
	if (fallback && str_empty(value))
		value = fallback;
	if (value)
		return buf_add_str(&expansion->word, value);
	err_set(expansion->err, -ENOENT, "command uses $%s, which is not set", name);
	err_hint(expansion->err, "put %s under env, or write ${%s:-} if it may be empty", name, name);
	return -ENOENT;
}

// At "${": NAME} or NAME:-fallback}.
static int expand_braces(struct expansion *expansion, const char **at)
{
	const char *name = *at + 2, *end = strchr(name, '}');
	size_t n = name_length(name);
	const char *after = name + n;
	bool fallback = n && end && after[0] == ':' && after[1] == '-';
	if (!n || !end || (after != end && !fallback)) {
		err_set(expansion->err, -EINVAL, "command has '%.40s', which is not understood", *at);
		err_hint(expansion->err, "write ${NAME} or ${NAME:-fallback}; $$ for a dollar sign");
		return -EINVAL;
	}
	AUTO_FREE char *copy = xstrndup(name, n);
	AUTO_FREE char *other = fallback ? xstrndup(after + 2, (size_t)(end - after) - 2) : NULL;
	*at = end + 1;
	return put_value(expansion, copy, other);
}

static int expand_dollar(struct expansion *expansion, const char **at)
{
	const char *dollar = *at;
	if (dollar[1] == '{')
		return expand_braces(expansion, at);
	size_t n = name_length(dollar + 1);
	if (!n) {
		*at += dollar[1] == '$' ? 2 : 1;
		return buf_add(&expansion->word, "$", 1);
	}
	AUTO_FREE char *name = xstrndup(dollar + 1, n);
	*at += 1 + n;
	return put_value(expansion, name, NULL);
}

static int expand_word(struct expansion *expansion, const char *at)
{
	int r = 0;
	while (*at && r >= 0) {
		size_t n = strcspn(at, "$");
		r = buf_add(&expansion->word, at, n);
		at += n;
		if (r >= 0 && *at)
			r = expand_dollar(expansion, &at);
	}
	expansion->bytes += buf_len(&expansion->word) + 1;
	if (r == -ENOBUFS || (r >= 0 && expansion->bytes > EXPANDED_MAX))
		return err_set(expansion->err, -E2BIG, "command is longer than %d bytes after expansion", EXPANDED_MAX);
	return r;
}

int command_expand(const char *const *words, uint32_t count, command_lookup lookup, void *arg, struct words *ret,
		   struct err *err)
{
	struct expansion expansion = { .lookup = lookup, .arg = arg, .word = BUF_INIT(EXPANDED_MAX), .err = err };
	struct words done = { 0 };
	int r = 0;
	for (uint32_t i = 0; i < count && r >= 0; i++) {
		buf_reset(&expansion.word);
		r = expand_word(&expansion, words[i]);
		if (r >= 0)
			words_add(&done, xstrdup(buf_str(&expansion.word)));
	}
	buf_clear(&expansion.word);
	if (r < 0) {
		words_clear(&done);
		return r;
	}
	*ret = done;
	return 0;
}
