#include "server/access.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "io/file.h"
#include "server/authority.h"
#include "server/core.h"
#include "server/route.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <strings.h>

enum { TOKEN_MAX = 4096 };

// ---- tokens

// In a shared store each server has its own files, and minds its own tokens.
static char *token_server(const struct server *server)
{
	return store_is_shared(server->store) ? server->name : NULL;
}

static void put_token(struct server *server, const char *name, enum token_role role, const char *text)
{
	char hash[DIGEST_SIZE];
	digest_of(text, strlen(text), hash);
	struct token token = { .name = (char *)name,
			       .hash = hash,
			       .role = role,
			       .created_ms = realtime_ms(),
			       .server = token_server(server) };
	AUTO_FREE char *key = xasprintf("v1/tokens/%s", hash);
	AUTO_FREE char *value = token_text(&token);
	struct store_txn *txn = store_txn_new();
	store_txn_if_absent(txn, key);
	store_txn_put(txn, key, value, strlen(value));
	server_begin_with(server, txn);
}

// A token of that name whose file has another content by now no longer counts.
static void drop_others(struct server *server, const char *name, const char *text)
{
	char hash[DIGEST_SIZE];
	digest_of(text, strlen(text), hash);
	struct store_txn *txn = store_txn_new();
	const struct record *r = NULL;
	while ((r = store_next(server->store, "v1/tokens/", r ? record_key(r) : NULL))) {
		struct token token = {};
		if (token_parse_text(record_value(r), r->value_len, &token, NULL) == 0 && str_eq(token.name, name) &&
		    !str_eq(token.hash, hash) && str_eq(token.server, token_server(server)))
			store_txn_delete(txn, record_key(r));
		token_clear(&token);
	}
	if (store_txn_ops(txn))
		server_begin_with(server, txn);
	else
		store_txn_free(txn);
}

// *ret_text: heap; NULL when there is no such file.
static int read_token(struct server *server, const char *name, char **ret_text, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/secrets/%s.token", server->platform->data, name);
	AUTO_BUF struct buf content = BUF_INIT(TOKEN_MAX);
	int r = file_read(path, &content, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_wrap(err, "token '%s'", name);
	AUTO_FREE char *text = buf_take(&content);
	text[strcspn(text, "\r\n")] = '\0';
	if (!*text)
		return err_set(err, -EINVAL, "token file '%s' is empty", path);
	*ret_text = TAKE_PTR(text);
	return 0;
}

static void keep_token(struct server *server, const char *name, enum token_role role, const char *text)
{
	if (!text)
		return;
	drop_others(server, name, text);
	put_token(server, name, role, text);
}

int access_open(struct server *server, struct err *err)
{
	AUTO_FREE char *operator= NULL;
	AUTO_FREE char *node = NULL;
	int r = read_token(server, "operator", &operator, err);
	if (r == 0)
		r = read_token(server, "node", &node, err);
	if (r < 0)
		return r;
	keep_token(server, "operator", ROLE_OPERATOR, operator);
	keep_token(server, "node", ROLE_NODE, node);
	return 0;
}

// ---- requests

static const char *bearer(struct request *rq)
{
	const char *value = http_header_get(&http_exchange_request(rq->x)->headers, "authorization");
	if (!value || strncasecmp(value, "bearer ", 7) != 0)
		return NULL;
	value += 7;
	return value + strspn(value, " ");
}

// Compares digests, in a time that does not depend on where they differ.
static const struct token *find_token(const struct map *tokens, const char *text)
{
	char hash[DIGEST_SIZE];
	digest_of(text, strlen(text), hash);
	const struct token *found = NULL;
	size_t at = 0;
	const char *key;
	void *token;
	while (map_next(tokens, &at, &key, &token))
		if (strlen(key) == DIGEST_SIZE - 1 && CRYPTO_memcmp(key, hash, DIGEST_SIZE - 1) == 0)
			found = token;
	return found;
}

static void unauthorised(struct request *rq, const char *text)
{
	http_exchange_set_header(rq->x, "WWW-Authenticate", "Bearer realm=\"dialtone\"");
	reply_problemf(
		rq, 401,
		"send `Authorization: Bearer TOKEN`; the operator's is in secrets/operator.token of the data directory",
		"%s", text ? "the token is not valid" : "a token is needed");
}

// Across a network, a node is who its certificate says; the token alone could come from anywhere. Own affairs only.
static bool proves_itself(struct request *rq)
{
	if (rq->who.access != ACCESS_NODE || !http_exchange_is_tls(rq->x) || rq->route->flags & ROUTE_UNPROVEN)
		return true;
	const char *node = authority_node(rq);
	if (authority_is_server(rq))
		return true; // it passes on what a node has asked it
	if (!node)
		reply_problemf(rq, 403, "POST /v1/certificates issues it; agents and routers ask by themselves",
			       "the node token counts only together with the node's certificate");
	else if (route_param_index(rq->route, "node") >= 0 && !str_eq(node, request_param(rq, "node")))
		reply_problemf(rq, 403, NULL, "the certificate shown is for node '%.64s', not for '%.64s'", node,
			       request_param(rq, "node"));
	else
		return true;
	return false;
}

bool access_check(struct request *rq)
{
	strcpy(rq->who.name, "-");
	if (rq->route->access == ACCESS_ANYONE)
		return true;
	const char *text = bearer(rq);
	replica_catch_up(&rq->server->replica);
	const struct token *token = text ? find_token(&rq->server->replica.tokens, text) : NULL;
	if (!token) {
		unauthorised(rq, text);
		return false;
	}
	snprintf(rq->who.name, sizeof(rq->who.name), "%s", token->name);
	rq->who.access = token->role == ROLE_OPERATOR ? ACCESS_OPERATOR : ACCESS_NODE;
	if (rq->who.access >= rq->route->access)
		return proves_itself(rq);
	reply_problemf(rq, 403, NULL, "token '%s' may not do this", rq->who.name);
	return false;
}

bool access_place(struct request *rq)
{
	struct replica *replica = &rq->server->replica;
	if (route_param_index(rq->route, "tenant") < 0)
		return true;
	replica_catch_up(replica);
	const char *tenant = request_param(rq, "tenant");
	if (!map_get(&replica->tenants, tenant)) {
		reply_problemf(rq, 404, "there is the tenant 'default'", "no tenant '%.64s'", tenant);
		return false;
	}
	if (route_param_index(rq->route, "environment") < 0)
		return true;
	const char *environment = request_param(rq, "environment");
	AUTO_FREE char *key = xasprintf("%s/%s", tenant, environment);
	if (map_get(&replica->environments, key))
		return true;
	reply_problemf(rq, 404, "there is the environment 'dev'", "no environment '%.64s' in tenant '%s'", environment,
		       tenant);
	return false;
}
