// Uploads and downloads of artifacts: blobs, manifests, content. Files are touched on the thread pool only.
#pragma once

#include "model/fields.h"
#include "server/request.h"

struct blobs;

struct digests {
	char **digests;
	uint32_t digest_count;
};
FIELDS_OBJECT(digests)

void artifacts_missing(struct request *rq); // POST blobs/missing
void artifacts_blobs(struct request *rq);   // POST blobs
void artifacts_put(struct request *rq);     // PUT artifacts/{digest}
void artifacts_get(struct request *rq);     // GET artifacts/{digest}
void artifacts_content(struct request *rq); // GET artifacts/{digest}/content

// The tenant's blobs, opened when first asked for; NULL when that fails. request_blobs then has answered.
struct blobs *server_blobs(struct server *server, const char *tenant, struct err *err);
struct blobs *request_blobs(struct request *rq);
void artifacts_close(struct server *server);
