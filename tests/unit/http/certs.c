#include "certs.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define YEAR_S (365ULL * 24 * 3600)

static void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->text);
}

void certs_init(struct certs *c)
{
	struct err err = { 0 };
	must(pki_key_new(&c->authority_key, &err), &err);
	must(pki_authority_new(c->authority_key, "dialtone://p", realtime_ms() / 1000 - YEAR_S, 10 * YEAR_S,
			       &c->authority, &err),
	     &err);
}

void certs_clear(struct certs *c)
{
	free(c->authority);
	free(c->authority_key);
}

struct own certs_own(const struct certs *c, const char *uri, const char *host, uint64_t age_s, uint64_t lasts_s)
{
	struct err err = { 0 };
	struct own own = { 0 };
	AUTO_FREE char *request = NULL;
	must(pki_key_new(&own.key, &err), &err);
	must(pki_request_new(own.key, &request, &err), &err);
	const char *names[] = { host, "localhost" };
	struct pki_issue issue = {
		.authority = c->authority,
		.authority_key = c->authority_key,
		.uri = uri,
		.names = names,
		.n_names = host ? 2 : 0,
		.server = host,
		.now_s = realtime_ms() / 1000 - age_s,
		.lasts_s = lasts_s,
	};
	must(pki_issue(&issue, request, &own.cert, &err), &err);
	return own;
}

void own_clear(struct own *own)
{
	free(own->cert);
	free(own->key);
}

struct tls_config *certs_config(const struct tls_spec *spec)
{
	struct err err = { 0 };
	struct tls_config *config = NULL;
	must(tls_config_new(spec, &config, &err), &err);
	return config;
}
