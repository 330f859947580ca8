// Who may send what to whom: two nftables tables of the platform's own ("bridge" and "inet" family, dialtone_PLATFORM).
//
// On the bridge, an instance's port passes only IPv4 and ARP with the instance's own addresses, and frames between two
// ports pass only within an environment. Above it, nothing that comes from the bridge reaches the machine itself but
// answers; link-local, shared (100.64.0.0/10: other platforms) and multicast addresses are not forwarded to; the rest
// of the outside is reached by masquerade; nothing new comes in from outside.
//
// Not thread-safe, except that calls may come from any thread one at a time.
#pragma once

#include "agent/container/container.h"
#include "agent/container/link.h"
#include "base/map.h"

struct nft_ctx;

struct firewall {
	struct nft_ctx *nft;
	struct link_net net;
	struct map numbers; // environment → number (as a pointer)
	uint32_t last_number;
	uint32_t *environments; // number of each address of the subnet, 0: none
};

// Sets both tables, whole and in one transaction, so that they know exactly these members.
int firewall_open(struct firewall *firewall, const struct link_net *net, const struct container_member *members,
		  size_t n, struct err *err);
void firewall_close(struct firewall *firewall); // the tables stay; zeroed is fine

// Sets the tables again when they are gone (a reload of the machine's own rules removes everybody's). 1: they were gone.
int firewall_repair(struct firewall *firewall, struct err *err);

int firewall_add(struct firewall *firewall, uint32_t address, const char *environment, struct err *err);
int firewall_remove(struct firewall *firewall, uint32_t address, struct err *err); // not a member: success

int firewall_remove_tables(const char *platform, struct err *err);
