// The OpenAPI 3.1 document of the API, made from the table of routes and the field tables that parse requests.
#pragma once

#include "server/request.h"

json_t *openapi_document(void); // a new reference
void openapi_get(struct request *rq);
