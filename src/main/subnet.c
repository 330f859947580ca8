#include "main/subnet.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#define POOL 0x64400000u // 100.64.0.0
#define SUBNETS 1024u
#define SUBNET_SIZE 4096u

static bool overlap(struct ipv4_range a, const struct ipv4_range *taken, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a.first <= taken[i].last && taken[i].first <= a.last)
			return true;
	return false;
}

int subnet_choose(const struct ipv4_range *taken, size_t n, unsigned start, char subnet[SUBNET_TEXT_SIZE])
{
	for (unsigned i = 0; i < SUBNETS; i++) {
		uint32_t first = POOL + (start + i) % SUBNETS * SUBNET_SIZE;
		if (overlap((struct ipv4_range){ first, first + SUBNET_SIZE - 1 }, taken, n))
			continue;
		snprintf(subnet, SUBNET_TEXT_SIZE, "%u.%u.%u.0/20", first >> 24, first >> 16 & 255, first >> 8 & 255);
		return 0;
	}
	return -EADDRNOTAVAIL;
}

static struct ipv4_range range_of(uint32_t address, uint32_t mask)
{
	return (struct ipv4_range){ address & mask, (address & mask) | ~mask };
}

bool subnet_overlaps(const char *subnet, const struct ipv4_range *taken, size_t n)
{
	AUTO_FREE char *address = xstrdup(subnet);
	address[strcspn(address, "/")] = '\0';
	struct in_addr in;
	uint64_t bits = 20;
	const char *slash = strchr(subnet, '/');
	if (inet_pton(AF_INET, address, &in) != 1 || (slash && parse_u64(slash + 1, 32, &bits) < 0))
		return true;
	uint32_t mask = bits ? ~0u << (32 - bits) : 0;
	return overlap(range_of(ntohl(in.s_addr), mask), taken, n);
}

struct ranges {
	struct ipv4_range *items;
	size_t n, size;
};

static void add(struct ranges *r, struct ipv4_range range)
{
	if (r->n == r->size) {
		r->size = r->size ? r->size * 2 : 16;
		r->items = xreallocarray(r->items, r->size, sizeof(range));
	}
	r->items[r->n++] = range;
}

static bool excepted(const char *interface, const char *except)
{
	return except && strstr(interface, except);
}

// The main table of routes, proc(5).
static void add_routes(struct ranges *r, const char *except)
{
	AUTO_FCLOSE FILE *f = fopen("/proc/net/route", "re");
	char line[512], interface[64];
	unsigned destination, mask;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %8X %*8X %*X %*u %*u %*u %8X", interface, &destination, &mask) != 3 || mask == 0)
			continue; // the head, or the default route
		if (!excepted(interface, except))
			add(r, range_of(ntohl(destination), ntohl(mask)));
	}
}

static int add_addresses(struct ranges *r, const char *except, struct err *err)
{
	struct ifaddrs *all;
	if (getifaddrs(&all) < 0)
		return err_set_errno(err, -errno, "cannot list this machine's addresses");
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !i->ifa_netmask ||
		    excepted(i->ifa_name, except))
			continue;
		struct sockaddr_in address, mask;
		memcpy(&address, i->ifa_addr, sizeof(address));
		memcpy(&mask, i->ifa_netmask, sizeof(mask));
		add(r, range_of(ntohl(address.sin_addr.s_addr), ntohl(mask.sin_addr.s_addr)));
	}
	freeifaddrs(all);
	return 0;
}

int subnet_taken(const char *except, struct ipv4_range **ret, size_t *ret_n, struct err *err)
{
	struct ranges ranges = { 0 };
	add_routes(&ranges, except);
	int r = add_addresses(&ranges, except, err);
	if (r < 0) {
		free(ranges.items);
		return r;
	}
	*ret = ranges.items;
	*ret_n = ranges.n;
	return 0;
}
