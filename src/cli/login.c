// `login`: keeps the token of a platform on another machine, and whom to believe there.
#include "cli/commands.h"
#include "cli/output.h"

#include "base/buf.h"
#include "base/str.h"
#include "client/trust.h"
#include "http/pki.h"
#include "io/file.h"

#include <errno.h>
#include <strings.h>

enum { INPUT_MAX = 64 << 10 };

static int read_input(const char *path, char **ret, struct err *err)
{
	AUTO_BUF struct buf text = BUF_INIT(INPUT_MAX);
	int r = file_read(str_eq(path, "-") ? "/dev/stdin" : path, &text, err);
	if (r == 0)
		*ret = buf_take(&text);
	return r;
}

// Of --token-file, or $DIALTONE_TOKEN.
static int read_token(const struct cli *cli, char **ret, struct err *err)
{
	const char *path = cli_get(cli, "token-file"), *given = getenv("DIALTONE_TOKEN");
	AUTO_FREE char *text = path || str_empty(given) ? NULL : xstrdup(given);
	int r = path ? read_input(path, &text, err) : 0;
	if (r < 0)
		return err_wrap(err, "--token-file");
	if (text)
		text[strcspn(text, "\r\n \t")] = '\0';
	if (str_empty(text)) {
		err_set(err, -EINVAL, "no token was given");
		return err_hint(
			err, "--token-file FILE ('-': standard input); the operator's is in secrets/operator.token of "
			     "a server's data directory");
	}
	*ret = TAKE_PTR(text);
	return 0;
}

// As it is printed, or as other tools write it: "SHA256:", colons, capitals.
static bool same_fingerprint(const char *given, const char *is)
{
	if (strncasecmp(given, "sha256:", 7) == 0)
		given += 7;
	for (; *given; given++) {
		if (*given == ':')
			continue;
		char lower = *given >= 'A' && *given <= 'F' ? (char)(*given - 'A' + 'a') : *given;
		if (lower != *is++)
			return false;
	}
	return !*is;
}

// What the server says is its platform's authority. Anybody may say so: it is compared with what the caller knows.
static int ask_authority(const char *address, char **ret, struct pki_facts *ret_facts, struct err *err)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	client_trust_anybody();
	struct client *client = client_new(address, NULL, err);
	if (!client)
		return err->code;
	int r = client_call(client, "GET", "/v1/authority", NULL, &answer, err);
	client_free(client);
	if (r < 0)
		return r;
	const char *pem = json_string_value(json_object_get(answer.json, "certificate"));
	if (!pem)
		return err_set(err, -EBADMSG, "%s names no authority: is it a platform?", address);
	r = pki_read(pem, ret_facts, err);
	if (r == 0)
		*ret = xstrdup(pem);
	return r;
}

static int compare(const struct cli *cli, const char *address, const struct pki_facts *facts, struct err *err)
{
	const char *wanted = cli_get(cli, "fingerprint"), *file = cli_get(cli, "token-file");
	if (wanted && same_fingerprint(wanted, facts->fingerprint))
		return 0;
	if (wanted) {
		err_set(err, -EACCES, "the authority of %s has the fingerprint %s, not the one given", address,
			facts->fingerprint);
		return err_hint(err, "somebody may stand between: compare it with the one in a server's log");
	}
	err_set(err, -EACCES, "the authority of %s is not known here; its fingerprint is %s", address,
		facts->fingerprint);
	return err_hint(err,
			"if a server's log (or 'openssl x509 -fingerprint -sha256' on its secrets/authority.pem) says "
			"the same: "
			"dialtone login %s --fingerprint %s --token-file %s",
			address, facts->fingerprint, file ? file : "FILE");
}

// Whom to believe at an https:// address: the file given, or the authority with the fingerprint given. Heap.
static int find_authority(const struct cli *cli, const char *address, char **ret, struct err *err)
{
	const char *file = cli_get(cli, "ca");
	if (!str_starts(address, "https://"))
		return 0;
	if (file)
		return read_input(file, ret, err) < 0 ? err_wrap(err, "--ca") : 0;
	AUTO_FREE char *pem = NULL;
	struct pki_facts facts;
	int r = ask_authority(address, &pem, &facts, err);
	if (r == 0)
		r = compare(cli, address, &facts, err);
	if (r == 0)
		*ret = TAKE_PTR(pem);
	return r;
}

// With the token, as every later command will.
static int try_it(const char *address, const char *token, const char *authority, struct client_answer *answer,
		  struct err *err)
{
	int r = authority ? client_trust(authority, NULL, NULL, err) : 0;
	struct client *client = r == 0 ? client_new(address, token, err) : NULL;
	if (!client)
		return err->code;
	r = client_call(client, "GET", "/v1/status", NULL, answer, err);
	client_free(client);
	return r;
}

int command_login(struct cli *cli)
{
	const char *address = cli->args[0];
	AUTO_FREE char *authority = NULL;
	AUTO_FREE char *token = NULL;
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct err err = { 0 };
	int r = find_authority(cli, address, &authority, &err);
	if (r == 0)
		r = read_token(cli, &token, &err);
	if (r == 0)
		r = try_it(address, token, authority, &answer, &err);
	if (r == 0)
		r = client_config_login(address, token, authority, &err);
	if (r < 0)
		return cli_fail(cli, &err);
	const char *platform = get_text(json_object_get(answer.json, "platform"), "id");
	if (cli->json) {
		json_t *told = json_pack("{s:s, s:s}", "platform", platform, "api", address);
		int status = print_json(told);
		json_decref(told);
		return status;
	}
	printf("platform %s at %s is now the current one\n", platform, address);
	return CLI_OK;
}
