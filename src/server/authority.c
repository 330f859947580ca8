#include "server/authority.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "http/pki.h"
#include "io/file.h"
#include "io/socket.h"
#include "model/fields.h"
#include "server/core.h"
#include "server/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>

#define AUTHORITY_KEY "v1/authority"
#define LOOK_MS (60ULL * 60 * 1000)

enum { NODE_NAME_MAX = 128 };

static const struct field certificate_request_items[] = {
	FIELD(certificate_request, node, FIELD_TEXT, REQUIRED, 1, NODE_NAME_MAX, .about = "the machine's name"),
	FIELD(certificate_request, request, FIELD_TEXT, REQUIRED, 1, PKI_REQUEST_MAX,
	      .about = "PKCS #10 in PEM, of an ECDSA key on P-256"),
};
const struct fields certificate_request_fields =
	FIELDS(certificate_request, certificate_request_items, "CertificateRequest");

static uint64_t now_s(void)
{
	return realtime_ms() / 1000;
}

// ---- the server's own certificate

struct names {
	const char *list[PKI_NAMES_MAX];
	char *texts[PKI_NAMES_MAX];
	size_t n;
};

static void add_name(struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (str_eq(names->list[i], name))
			return;
	if (names->n < PKI_NAMES_MAX)
		names->list[names->n] = names->texts[names->n] = xstrdup(name), names->n++;
}

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->texts[i]);
}

static void add_address(struct names *names, const struct sockaddr *sa)
{
	char text[INET6_ADDRSTRLEN];
	const void *bytes = sa->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)sa)->sin_addr
						     : (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr;
	if ((sa->sa_family == AF_INET || sa->sa_family == AF_INET6) &&
	    inet_ntop(sa->sa_family, bytes, text, sizeof(text)))
		add_name(names, text);
}

// Where it listens, or on all addresses each that the machine has now; and the machine's name.
static void own_names(const struct server *server, struct names *names)
{
	char host[HOST_NAME_MAX + 1] = "";
	struct address a;
	gethostname(host, sizeof(host) - 1);
	add_name(names, "localhost");
	if (*host)
		add_name(names, host);
	if (address_parse(server->platform->api, &a, NULL) < 0)
		return;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a.sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a.sa;
	bool any =
		a.sa.ss_family == AF_INET ? v4->sin_addr.s_addr == INADDR_ANY : IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
	if (!any) {
		add_address(names, (const struct sockaddr *)&a.sa);
		return;
	}
	struct ifaddrs *all = NULL;
	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (i->ifa_addr)
			add_address(names, i->ifa_addr);
	freeifaddrs(all);
}

static int issue_own(struct server *server, char **ret_cert, char **ret_key, struct err *err)
{
	const struct authority *a = &server->authority;
	AUTO_FREE char *request = NULL;
	AUTO_FREE char *key = NULL;
	AUTO_FREE char *uri = xasprintf("dialtone://%s/server/%s", a->platform, server->name);
	int r = pki_key_new(&key, err);
	if (r == 0)
		r = pki_request_new(key, &request, err);
	if (r < 0)
		return r;
	struct names names = {};
	own_names(server, &names);
	struct pki_issue issue = { .authority = a->certificate,
				   .authority_key = a->key,
				   .uri = uri,
				   .names = names.list,
				   .n_names = names.n,
				   .server = true,
				   .now_s = now_s(),
				   .lasts_s = SERVER_CERTIFICATE_S };
	r = pki_issue(&issue, request, ret_cert, err);
	names_clear(&names);
	if (r == 0)
		*ret_key = TAKE_PTR(key);
	return r;
}

static int use(struct tls_config **config, const struct tls_spec *spec, struct err *err)
{
	return *config ? tls_config_reload(*config, spec, err) : tls_config_new(spec, config, err);
}

static int renew_own(struct server *server, struct err *err)
{
	struct authority *a = &server->authority;
	AUTO_FREE char *cert = NULL;
	AUTO_FREE char *key = NULL;
	int r = issue_own(server, &cert, &key, err);
	if (r < 0)
		return r;
	struct tls_spec spec = { .server = true,
				 .alpn = "http/1.1",
				 .ask = TLS_ASK_OPTIONAL,
				 .ca = a->certificate,
				 .chain = cert,
				 .key = key };
	r = use(&a->tls, &spec, err);
	spec.server = false;
	if (r == 0)
		r = use(&a->out, &spec, err);
	if (r < 0)
		return r;
	free(a->mine);
	a->mine = TAKE_PTR(cert);
	return 0;
}

static void look(struct timer *timer)
{
	struct authority *a = CONTAINER_OF(timer, struct authority, renew);
	struct pki_facts facts;
	struct err err = {};
	timer_set(timer, LOOK_MS);
	if (!a->mine || (pki_read(a->mine, &facts, NULL) == 0 && now_s() < pki_renew_s(&facts)))
		return;
	if (renew_own(a->server, &err) < 0)
		log_error("the certificate could not be renewed: %s", err.text);
	else
		log_info("new certificate");
}

// ---- beginning

// What a person, and this machine's own agent and router, need in order to trust the platform.
static void write_certificate(const struct server *server)
{
	const struct authority *a = &server->authority;
	AUTO_FREE char *folder = xasprintf("%s/secrets", server->platform->data);
	AUTO_FREE char *path = xasprintf("%s/authority.pem", folder);
	struct err err = {};
	int r = dir_make(folder, 0700, &err);
	if (r == 0)
		r = file_write_durable(path, a->certificate, strlen(a->certificate), 0600, &err);
	if (r < 0)
		log_error("%s", err.text);
}

static int serve_tls(struct server *server, struct err *err)
{
	struct authority *a = &server->authority;
	struct pki_facts facts;
	int r = pki_read(a->certificate, &facts, err);
	if (r == 0)
		r = renew_own(server, err);
	if (r < 0)
		return r;
	http_server_secure(server->http, a->tls, true);
	log_info("TLS api=%s authority=%s fingerprint=%s", server->platform->api, a->platform, facts.fingerprint);
	return 0;
}

static int adopt(struct server *server, const struct record *record, struct err *err)
{
	struct authority *a = &server->authority;
	AUTO_JSON json_t *json = NULL;
	int r = json_from_bytes(record_value(record), record->value_len, &json, err);
	const char *platform = json_get_text(json, "platform", NULL);
	const char *certificate = json_get_text(json, "certificate", NULL), *key = json_get_text(json, "key", NULL);
	if (r == 0 && !(platform && certificate && key))
		r = err_set(err, -EINVAL, "it is incomplete");
	if (r < 0)
		return r;
	a->platform = xstrdup(platform);
	a->certificate = xstrdup(certificate);
	a->key = xstrdup(key);
	write_certificate(server);
	return platform_api_is_local(server->platform) ? 0 : serve_tls(server, err);
}

// Without it this server would answer in plain where it must not: it ends.
static void begin(struct server *server, const struct record *record)
{
	struct err err = {};
	if (adopt(server, record, &err) == 0)
		return;
	log_error("record %s of the store: %s", AUTHORITY_KEY, err.text);
	_exit(1);
}

static void made(void *arg, const struct store_answer *answer)
{
	struct server *server = arg;
	const struct record *record = store_get(server->store, AUTHORITY_KEY);
	if (!record && answer->result == STORE_CONFLICT)
		record = answer->record;
	if (record && !server->closing) {
		begin(server, record);
	} else if (!server->closing) {
		log_error("cannot make the platform's authority: %s", answer->reason);
		_exit(1);
	}
	server_begun(server);
}

static int make(struct server *server, char **ret_text, struct err *err)
{
	AUTO_FREE char *key = NULL;
	AUTO_FREE char *certificate = NULL;
	AUTO_FREE char *uri = xasprintf("dialtone://%s", server->platform->id);
	int r = pki_key_new(&key, err);
	if (r == 0)
		r = pki_authority_new(key, uri, now_s(), AUTHORITY_S, &certificate, err);
	if (r < 0)
		return r;
	AUTO_JSON json_t *json = json_pack("{s:s, s:s, s:s, s:I}", "platform", server->platform->id, "certificate",
					   certificate, "key", key, "created_ms", (json_int_t)realtime_ms());
	*ret_text = json_to_text(json);
	return 0;
}

void authority_open(struct server *server)
{
	struct authority *a = &server->authority;
	a->server = server;
	timer_init(&a->renew, server->loop, look);
	timer_set(&a->renew, LOOK_MS);
	const struct record *record = store_get(server->store, AUTHORITY_KEY);
	if (record) {
		begin(server, record);
		return;
	}
	AUTO_FREE char *text = NULL;
	struct err err = {};
	if (make(server, &text, &err) < 0) {
		log_error("%s", err.text);
		_exit(1);
	}
	struct store_txn *txn = store_txn_new();
	store_txn_if_absent(txn, AUTHORITY_KEY);
	store_txn_put(txn, AUTHORITY_KEY, text, strlen(text));
	server->beginning++;
	store_commit(server->store, txn, made, server);
}

void authority_close(struct server *server)
{
	struct authority *a = &server->authority;
	timer_clear(&a->renew);
	tls_config_free(a->tls);
	tls_config_free(a->out);
	free(a->platform);
	free(a->certificate);
	free(a->key);
	free(a->mine);
}

// ---- the API

void authority_get(struct request *rq)
{
	const struct authority *a = &rq->server->authority;
	struct pki_facts facts;
	struct err err = {};
	if (pki_read(a->certificate, &facts, &err) < 0) {
		reply_problem(rq, 500, NULL, &err);
		return;
	}
	reply_json(rq, 200,
		   json_pack("{s:s, s:s, s:s}", "platform", a->platform, "certificate", a->certificate, "fingerprint",
			     facts.fingerprint));
}

static const char *name_in_role(const struct request *rq, const char *role)
{
	const char *identity = http_exchange_identity(rq->x);
	AUTO_FREE char *prefix = xasprintf("dialtone://%s/%s/", rq->server->authority.platform, role);
	return identity && str_starts(identity, prefix) ? identity + strlen(prefix) : NULL;
}

const char *authority_node(const struct request *rq)
{
	return name_in_role(rq, "node");
}

bool authority_is_server(const struct request *rq)
{
	return name_in_role(rq, "server") != NULL;
}

void authority_secure_client(struct server *server, struct http_client *client)
{
	AUTO_FREE char *name = xasprintf("dialtone://%s/server/", server->authority.platform);
	struct err err = {};
	if (!server->authority.out && renew_own(server, &err) < 0) {
		log_error("%s", err.text);
		_exit(1); // never plain instead
	}
	http_client_secure(client, server->authority.out, name);
}

// As they may be in a URI without being written otherwise.
static bool is_node_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	return name[strspn(name, allowed)] == '\0';
}

static bool may_ask(struct request *rq, const char *node)
{
	const char *shown = authority_node(rq);
	if (!is_node_name(node))
		reply_problemf(rq, 400, NULL, "'%.64s' is not a machine's name: letters, digits, '-', '.' and '_'",
			       node);
	else if (shown && !str_eq(shown, node))
		reply_problemf(rq, 403, NULL, "the certificate shown is for node '%.64s', and does not ask for '%.64s'",
			       shown, node);
	else
		return true;
	return false;
}

void certificates_post(struct request *rq)
{
	const struct authority *a = &rq->server->authority;
	const struct certificate_request *asked = rq->object;
	if (!may_ask(rq, asked->node))
		return;
	AUTO_FREE char *uri = xasprintf("dialtone://%s/node/%s", a->platform, asked->node);
	AUTO_FREE char *certificate = NULL;
	struct err err = {};
	struct pki_issue issue = { .authority = a->certificate,
				   .authority_key = a->key,
				   .uri = uri,
				   .now_s = now_s(),
				   .lasts_s = NODE_CERTIFICATE_S };
	int r = pki_issue(&issue, asked->request, &certificate, &err);
	if (r < 0) {
		reply_problem(rq, r == -EINVAL ? 400 : 500, r == -EINVAL ? "request" : NULL, &err);
		return;
	}
	log_info("certificate issued node=%s from=%s", asked->node, rq->from);
	reply_json(rq, 200,
		   json_pack("{s:s, s:s, s:I}", "certificate", certificate, "authority", a->certificate, "until_ms",
			     (json_int_t)((now_s() + NODE_CERTIFICATE_S) * 1000)));
}
