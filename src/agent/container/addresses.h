// Which instance has which address of the node's subnet. An address is given out again only after all others were, so
// that a late packet or a stale route does not reach a stranger. In memory; who persists an instance's address hands it
// back with addresses_hold at start. Not thread-safe.
#pragma once

#include "base/err.h"

#include <stdint.h>

struct addresses {
	uint32_t network, prefix; // network in host byte order; prefix length 16 to 28
	uint32_t size;            // number of addresses, the network's own and the broadcast's included
	uint32_t next;            // where the search for a free one begins
	uint64_t *used;           // one bit an address
};

#define IPV4_TEXT_SIZE 16

// subnet: "100.64.16.0/20". The first address belongs to the node's bridge (the instances' gateway).
// -EINVAL with a reason when the text is not a network of 16 to 28 bits with no bit set behind the prefix.
int addresses_init(struct addresses *a, const char *subnet, struct err *err);
void addresses_clear(struct addresses *a); // zeroed is fine

// The bridge's own address.
uint32_t addresses_gateway(const struct addresses *a);

// A free address, in host byte order; -EADDRNOTAVAIL when all are taken.
int addresses_take(struct addresses *a, uint32_t *ret_address, struct err *err);

// Marks an address that an adopted instance has; -ERANGE when it is outside the subnet or the gateway's, -EEXIST when
// taken.
int addresses_hold(struct addresses *a, uint32_t address);

void addresses_release(struct addresses *a, uint32_t address); // what is not held is ignored

void ipv4_write(uint32_t address, char text[IPV4_TEXT_SIZE]);
int ipv4_parse(const char *text, uint32_t *ret_address); // -EINVAL
