#include "client/identity.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client.h"
#include "client/servers.h"
#include "client/trust.h"
#include "http/pki.h"
#include "io/file.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

enum { LOOK_MS = 1000, AGAIN_MS = 2000, PEM_MAX = 64 << 10 };

struct client_identity {
	struct client_identity_spec spec;
	char *data, *token, *node;
	char *authority;         // PEM; NULL: not found yet
	char *key;               // of the certificate asked for
	uint64_t renew_s;        // 0: there is none yet
	size_t at;               // which server is asked
	struct client_link *api; // while one is asked
	struct timer timer;
	struct err said; // what was complained of last
};

static int read_authority(const char *data, char **ret, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/secrets/authority.pem", data);
	AUTO_BUF struct buf text = BUF_INIT(PEM_MAX);
	int r = file_read(path, &text, err);
	if (r == -ENOENT) {
		err_set(err, r, "'%s' is missing, so no server can be believed", path);
		return err_hint(err, "copy it from the data directory of a server");
	}
	if (r == 0)
		*ret = buf_take(&text);
	return r;
}

void client_identity_prepare(const char *data)
{
	AUTO_FREE char *authority = NULL;
	if (read_authority(data, &authority, NULL) < 0 || client_trust(authority, NULL, NULL, NULL) < 0)
		client_trust_platform();
}

static void complain(struct client_identity *id, const struct err *err)
{
	if (!str_eq(id->said.text, err->text))
		log_warn("no certificate for this machine yet: %s%s%s", err->text, err->hint[0] ? " hint: " : "",
			 err->hint);
	id->said = *err;
	timer_set(&id->timer, AGAIN_MS);
}

static int take(struct client_identity *id, const struct client_answer *answer, struct err *err)
{
	const char *certificate = json_string_value(json_object_get(answer->json, "certificate"));
	struct pki_facts facts;
	if (!certificate)
		return err_set(err, -EBADMSG, "the answer has no certificate");
	int r = pki_read(certificate, &facts, err);
	if (r == 0)
		r = client_trust(id->authority, certificate, id->key, err);
	if (r < 0)
		return r;
	id->renew_s = pki_renew_s(&facts);
	id->said = (struct err){ 0 };
	log_info("certificate for %s", facts.uri);
	return 0;
}

static void answered(const struct client_answer *answer, const struct err *failed, void *arg)
{
	struct client_identity *id = arg;
	struct err err = { 0 };
	int r = failed ? failed->code : take(id, answer, &err);
	if (r < 0) {
		id->at++;
		complain(id, failed ? failed : &err);
	}
	// The link is freed by the timer: this comes from inside of it.
	if (r == 0)
		timer_set(&id->timer, LOOK_MS);
}

// The address whose turn it is; heap.
static char *next_address(const struct client_identity *id)
{
	AUTO_FREE char *all = client_servers_addresses(id->spec.servers);
	size_t n = 1;
	for (const char *at = all; (at = strchr(at, ',')); at++)
		n++;
	const char *at = all;
	for (size_t skip = id->at % n; skip; skip--)
		at = strchr(at, ',') + 1;
	return xstrndup(at, strcspn(at, ","));
}

static int ask(struct client_identity *id, struct err *err)
{
	AUTO_FREE char *request = NULL;
	AUTO_FREE char *address = next_address(id);
	free(TAKE_PTR(id->key));
	int r = id->authority ? 0 : read_authority(id->data, &id->authority, err);
	if (r == 0 && !id->renew_s)
		r = client_trust(id->authority, NULL, NULL, err);
	if (r == 0)
		r = pki_key_new(&id->key, err);
	if (r == 0)
		r = pki_request_new(id->key, &request, err);
	if (r < 0)
		return r;
	id->api = client_link_new(id->spec.loop, address, id->token, err);
	if (!id->api)
		return err->code;
	json_t *body = json_pack("{s:s, s:s}", "node", id->node, "request", request);
	client_link_call(id->api, "POST", "/v1/certificates", body, answered, id);
	json_decref(body);
	return 0;
}

static void look(struct timer *timer)
{
	struct client_identity *id = CONTAINER_OF(timer, struct client_identity, timer);
	client_link_free(TAKE_PTR(id->api));
	struct err err = { 0 };
	if (!client_trust_used() || (id->renew_s && realtime_ms() / 1000 < id->renew_s))
		timer_set(timer, LOOK_MS);
	else if (ask(id, &err) < 0)
		complain(id, &err);
}

struct client_identity *client_identity_start(const struct client_identity_spec *spec)
{
	char host[HOST_NAME_MAX + 1] = "";
	gethostname(host, sizeof(host) - 1);
	struct client_identity *id = xcalloc(1, sizeof(*id));
	*id = (struct client_identity){ .spec = *spec,
					.data = xstrdup(spec->data),
					.token = xstrdup(spec->token),
					.node = xstrdup(spec->node ? spec->node : host) };
	timer_init(&id->timer, spec->loop, look);
	timer_set(&id->timer, 0);
	return id;
}

void client_identity_stop(struct client_identity *id)
{
	if (!id)
		return;
	timer_clear(&id->timer);
	client_link_free(id->api);
	free(id->data);
	free(id->token);
	free(id->node);
	free(id->authority);
	free(id->key);
	free(id);
}
