// The node's bridge and the instances' ends on it. An instance's interface is called eth0 inside; its other end, on the
// bridge, is called after platform and address. Network namespaces are named by the pid of a process in them.
#pragma once

#include "base/err.h"

#include <stdint.h>

#define LINK_NAME_SIZE 16
#define LINK_MAC_SIZE 18

void link_bridge_name(const char *platform, char name[LINK_NAME_SIZE]);            // "dta1b2c3"
void link_name(const char *platform, uint32_t address, char name[LINK_NAME_SIZE]); // "dta1b2c3.5" (host part in hex)
void link_mac(uint32_t address, char text[LINK_MAC_SIZE]);                         // follows from the address

struct link_net {
	const char *platform;
	uint32_t gateway; // host byte order
	uint32_t prefix;
};

// Makes the bridge, with the gateway's address, unless it is there. -EADDRINUSE when another network of this machine
// overlaps the subnet.
int link_open_bridge(const struct link_net *net, struct err *err);

int link_remove_bridge(const char *platform, struct err *err); // and everything attached to it

// Gives the network namespace of process pid its interface, address and default route.
int link_attach(const struct link_net *net, pid_t pid, uint32_t address, struct err *err);

// Usually the interface went with its namespace; what is gone already is success.
int link_detach(const char *platform, uint32_t address, struct err *err);
