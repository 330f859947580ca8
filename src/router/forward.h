// What is passed on of a message's head, and what is added: RFC 9110 7.6.1 (connection-specific fields), RFC 7239.
#pragma once

#include "base/buf.h"
#include "http/http1.h"

// The protocols that the client asks to switch to, as passed on; NULL: none. Not HTTP/2: a tunnel for it would take
// later requests past the rules here.
const char *forward_upgrade(const struct http1_parser *request);

// Appends the request as the instance gets it. peer_ip: the client's address. False: it has a Connection field that
// names what may not be dropped (Host, lengths, Authorization, our own).
bool forward_request(struct buf *out, const struct http1_parser *request, const char *peer_ip);

enum body_form { BODY_NONE, BODY_AS_IS, BODY_CHUNKED, BODY_UNTIL_CLOSE };

// Appends the response head as the client gets it; *ret_form says how the body must then be written. to_minor: of the
// client's request; is_head: it was a HEAD request; close: say that the connection will end.
void forward_response(struct buf *out, const struct http1_parser *response, unsigned to_minor, bool is_head, bool close,
		      enum body_form *ret_form);

// A 1xx response.
void forward_interim(struct buf *out, const struct http1_parser *response);
