#include "agent/container/addresses.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

void ipv4_write(uint32_t address, char text[IPV4_TEXT_SIZE])
{
	snprintf(text, IPV4_TEXT_SIZE, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255,
		 address & 255);
}

int ipv4_parse(const char *text, uint32_t *ret_address)
{
	unsigned part[4];
	int end = 0;
	if (strspn(text, "0123456789.") != strlen(text))
		return -EINVAL;
	if (sscanf(text, "%3u.%3u.%3u.%3u%n", &part[0], &part[1], &part[2], &part[3], &end) != 4 || text[end])
		return -EINVAL;
	if (part[0] > 255 || part[1] > 255 || part[2] > 255 || part[3] > 255)
		return -EINVAL;
	*ret_address = part[0] << 24 | part[1] << 16 | part[2] << 8 | part[3];
	return 0;
}

static int subnet_parse(const char *subnet, uint32_t *ret_network, uint32_t *ret_prefix)
{
	const char *slash = strchr(subnet, '/');
	if (!slash)
		return -EINVAL;

	AUTO_FREE char *network_text = xstrndup(subnet, (size_t)(slash - subnet));
	uint32_t network;
	uint64_t prefix;
	if (ipv4_parse(network_text, &network) < 0 || parse_u64(slash + 1, 28, &prefix) < 0 || prefix < 16)
		return -EINVAL;
	if (network & (UINT32_MAX >> prefix))
		return -EINVAL;

	*ret_network = network;
	*ret_prefix = (uint32_t)prefix;
	return 0;
}

static bool is_used(const struct addresses *a, uint32_t index)
{
	return a->used[index / 64] >> (index % 64) & 1;
}

static void set_used(struct addresses *a, uint32_t index)
{
	a->used[index / 64] |= (uint64_t)1 << (index % 64);
}

int addresses_init(struct addresses *a, const char *subnet, struct err *err)
{
	uint32_t network, prefix;
	if (subnet_parse(subnet, &network, &prefix) < 0)
		return err_set(err, -EINVAL, "'%s' is not a subnet of 16 to 28 bits, such as 100.64.16.0/20", subnet);

	uint32_t size = (uint32_t)1 << (32 - prefix);
	*a = (struct addresses){ .network = network, .prefix = prefix, .size = size, .next = 2 };
	a->used = xcalloc((size + 63) / 64, sizeof(*a->used));
	set_used(a, 0);
	set_used(a, 1);
	set_used(a, size - 1);
	return 0;
}

void addresses_clear(struct addresses *a)
{
	free(a->used);
	*a = (struct addresses){ 0 };
}

uint32_t addresses_gateway(const struct addresses *a)
{
	return a->network + 1;
}

int addresses_take(struct addresses *a, uint32_t *ret_address, struct err *err)
{
	for (uint32_t tried = 0; tried < a->size; tried++) {
		uint32_t index = a->next;
		a->next = (a->next + 1) % a->size;
		if (is_used(a, index))
			continue;
		set_used(a, index);
		*ret_address = a->network + index;
		return 0;
	}
	return err_set(err, -EADDRNOTAVAIL, "all %u addresses of the node's subnet are taken", a->size - 3);
}

int addresses_hold(struct addresses *a, uint32_t address)
{
	uint32_t index = address - a->network; // wraps to something large below the network
	if (index < 2 || index >= a->size - 1)
		return -ERANGE;
	if (is_used(a, index))
		return -EEXIST;
	set_used(a, index);
	if (index >= a->next)
		a->next = index + 1;
	return 0;
}

void addresses_release(struct addresses *a, uint32_t address)
{
	uint32_t index = address - a->network;
	if (index >= 2 && index < a->size - 1)
		a->used[index / 64] &= ~((uint64_t)1 << (index % 64));
}
