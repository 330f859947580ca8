// What this process trusts and shows at addresses that begin with https:// (docs/tls.md): the authority of one
// platform, and, as an agent or a router, a certificate of its own. All clients and links share it, on whichever
// thread; a change counts for connections made from then on, and connections at rest are closed.
#pragma once

#include "base/err.h"

#include <stdbool.h>

// PEM. authority: one of a platform is believed about that platform's servers, whatever their address; another one
// about the address. NULL: the system's. cert, key: NULL for none.
int client_trust(const char *authority, const char *cert, const char *key, struct err *err);

// For a process that learns its platform's authority later: nothing but a platform's authority will do.
void client_trust_platform(void);

// Believes anybody. For asking what is then checked by other means; nothing may be sent that is secret.
void client_trust_anybody(void);

bool client_trust_used(void); // an https:// address has come up
