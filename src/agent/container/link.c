#include "agent/container/link.h"

#include "agent/container/addresses.h"
#include "base/str.h"
#include "io/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define INSIDE "eth0"

void link_bridge_name(const char *platform, char name[LINK_NAME_SIZE])
{
	snprintf(name, LINK_NAME_SIZE, "dt%s", platform);
}

void link_name(const char *platform, uint32_t address, char name[LINK_NAME_SIZE])
{
	snprintf(name, LINK_NAME_SIZE, "dt%s.%x", platform, address & 0xffff);
}

void link_mac(uint32_t address, char text[LINK_MAC_SIZE])
{
	// Locally administered (IEEE 802: second lowest bit of the first byte).
	snprintf(text, LINK_MAC_SIZE, "02:d1:%02x:%02x:%02x:%02x", address >> 24, address >> 16 & 255,
		 address >> 8 & 255, address & 255);
}

static void socket_clear(struct nl_sock **sock)
{
	nl_socket_free(*sock);
}

static void link_clear(struct rtnl_link **link)
{
	rtnl_link_put(*link);
}

static void nl_addr_clear(struct nl_addr **addr)
{
	nl_addr_put(*addr);
}

static void rtnl_addr_clear(struct rtnl_addr **addr)
{
	rtnl_addr_put(*addr);
}

static void cache_clear(struct nl_cache **cache)
{
	nl_cache_free(*cache);
}

// libnl has error numbers of its own.
static int nl_err(struct err *err, int nl_code, const char *what)
{
	static const struct {
		int nl, code;
	} codes[] = {
		{ NLE_EXIST, -EEXIST }, { NLE_NODEV, -ENODEV },         { NLE_OBJ_NOTFOUND, -ENODEV },
		{ NLE_PERM, -EPERM },   { NLE_OPNOTSUPP, -EOPNOTSUPP }, { NLE_BUSY, -EBUSY },
		{ NLE_NOMEM, -ENOMEM }, { NLE_NOACCESS, -EACCES },
	};
	int code = -EIO;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		if (codes[i].nl == -nl_code)
			code = codes[i].code;
	}
	return err_set(err, code, "%s: %s", what, nl_geterror(nl_code));
}

static int open_socket(struct nl_sock **ret, struct err *err)
{
	struct nl_sock *sock = nl_socket_alloc();
	if (!sock)
		return err_set(err, -ENOMEM, "cannot ask the kernel about its network");
	int r = nl_connect(sock, NETLINK_ROUTE);
	if (r < 0) {
		nl_socket_free(sock);
		return nl_err(err, r, "cannot ask the kernel about its network");
	}
	*ret = sock;
	return 0;
}

static int set_mac(struct rtnl_link *link, uint32_t address)
{
	char text[LINK_MAC_SIZE];
	link_mac(address, text);
	CLEANUP(nl_addr_clear) struct nl_addr *mac = NULL;
	int r = nl_addr_parse(text, AF_LLC, &mac);
	if (r < 0)
		return r;
	rtnl_link_set_addr(link, mac);
	return 0;
}

static int add_bridge(struct nl_sock *sock, const struct link_net *net, const char *name, struct err *err)
{
	CLEANUP(link_clear) struct rtnl_link *link = rtnl_link_bridge_alloc();
	rtnl_link_set_name(link, name);
	rtnl_link_set_flags(link, IFF_UP);
	int r = set_mac(link, net->gateway); // else it would follow from the ports, and change
	if (r == 0)
		r = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
	if (r < 0 && r != -NLE_EXIST)
		return nl_err(err, r, "cannot make the bridge");
	return 0;
}

// The subnet may exist once on a machine: two platforms, or a platform and a network that was there before, would take
// each other's packets.
static int check_overlap(struct nl_sock *sock, const struct link_net *net, int bridge, struct err *err)
{
	CLEANUP(cache_clear) struct nl_cache *cache = NULL;
	int r = rtnl_addr_alloc_cache(sock, &cache);
	if (r < 0)
		return nl_err(err, r, "cannot read the machine's addresses");

	for (struct nl_object *at = nl_cache_get_first(cache); at; at = nl_cache_get_next(at)) {
		struct rtnl_addr *addr = (struct rtnl_addr *)at;
		if (rtnl_addr_get_family(addr) != AF_INET || rtnl_addr_get_ifindex(addr) == bridge)
			continue;
		struct nl_addr *local = rtnl_addr_get_local(addr);
		uint32_t other = ntohl(*(uint32_t *)nl_addr_get_binary_addr(local));
		uint32_t prefix =
			nl_addr_get_prefixlen(local) < net->prefix ? nl_addr_get_prefixlen(local) : net->prefix;
		if (prefix && (other ^ net->gateway) >> (32 - prefix))
			continue;
		char text[IPV4_TEXT_SIZE], name[IF_NAMESIZE] = "?";
		ipv4_write(other, text);
		if_indextoname((unsigned)rtnl_addr_get_ifindex(addr), name);
		err_set(err, -EADDRINUSE, "the instances' subnet overlaps the network of '%s' (%s)", name, text);
		err_hint(err, "give this platform another subnet in platform.json");
		return -EADDRINUSE;
	}
	return 0;
}

static int add_gateway(struct nl_sock *sock, const struct link_net *net, int bridge, struct err *err)
{
	uint32_t bytes = htonl(net->gateway);
	CLEANUP(nl_addr_clear) struct nl_addr *local = nl_addr_build(AF_INET, &bytes, sizeof(bytes));
	CLEANUP(rtnl_addr_clear) struct rtnl_addr *addr = rtnl_addr_alloc();
	nl_addr_set_prefixlen(local, (int)net->prefix);
	rtnl_addr_set_local(addr, local);
	rtnl_addr_set_ifindex(addr, bridge);
	int r = rtnl_addr_add(sock, addr, 0);
	if (r < 0 && r != -NLE_EXIST)
		return nl_err(err, r, "cannot give the bridge its address");
	return 0;
}

static int write_setting(const char *path, const char *value)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write_all(fd, value, strlen(value));
}

static int write_interface_setting(const char *family, const char *interface, const char *setting, const char *value)
{
	AUTO_FREE char *path = xasprintf("/proc/sys/net/%s/conf/%s/%s", family, interface, setting);
	return write_setting(path, value);
}

// Instances reach the outside through the interfaces that lead there; no other of the machine's interfaces begins to
// forward.
static void forward_default_routes(void)
{
	AUTO_FCLOSE FILE *routes = fopen("/proc/net/route", "re");
	char line[256], name[IF_NAMESIZE];
	unsigned destination;
	while (routes && fgets(line, sizeof(line), routes)) {
		if (sscanf(line, "%15s %x", name, &destination) == 2 && destination == 0)
			write_interface_setting("ipv4", name, "forwarding", "1");
	}
}

int link_open_bridge(const struct link_net *net, struct err *err)
{
	char name[LINK_NAME_SIZE];
	link_bridge_name(net->platform, name);

	CLEANUP(socket_clear) struct nl_sock *sock = NULL;
	int r = open_socket(&sock, err);
	if (r < 0)
		return r;
	r = check_overlap(sock, net, (int)if_nametoindex(name), err);
	if (r < 0)
		return r;
	r = add_bridge(sock, net, name, err);
	if (r < 0)
		return r;
	write_interface_setting("ipv6", name, "disable_ipv6", "1"); // absent where the kernel has no IPv6
	r = add_gateway(sock, net, (int)if_nametoindex(name), err);
	if (r < 0)
		return r;
	write_interface_setting("ipv4", name, "send_redirects", "0");
	r = write_interface_setting("ipv4", name, "forwarding", "1");
	if (r < 0)
		return err_set_errno(err, r, "cannot let the bridge forward");
	forward_default_routes();
	return 0;
}

static int remove_link(struct nl_sock *sock, const char *name, struct err *err)
{
	CLEANUP(link_clear) struct rtnl_link *link = rtnl_link_alloc();
	rtnl_link_set_name(link, name);
	int r = rtnl_link_delete(sock, link);
	if (r < 0 && r != -NLE_NODEV && r != -NLE_OBJ_NOTFOUND)
		return nl_err(err, r, "cannot remove a network interface");
	return 0;
}

int link_remove_bridge(const char *platform, struct err *err)
{
	CLEANUP(socket_clear) struct nl_sock *sock = NULL;
	int r = open_socket(&sock, err);
	if (r < 0)
		return r;

	char bridge[LINK_NAME_SIZE], prefix[LINK_NAME_SIZE + 1];
	link_bridge_name(platform, bridge);
	snprintf(prefix, sizeof(prefix), "%s.", bridge);
	struct if_nameindex *interfaces = if_nameindex();
	for (struct if_nameindex *at = interfaces; r == 0 && at && at->if_name; at++) {
		if (str_starts(at->if_name, prefix))
			r = remove_link(sock, at->if_name, err);
	}
	if_freenameindex(interfaces);
	return r < 0 ? r : remove_link(sock, bridge, err);
}

// Runs on a thread of its own namespace for a moment: a socket keeps the namespace in which it was made.
static int prepare_inside(int net_fd, int *ret_socket)
{
	AUTO_CLOSE int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home < 0)
		return -errno;
	if (setns(net_fd, CLONE_NEWNET) < 0)
		return -errno;

	// Interfaces made from now on have no IPv6; the loopback keeps its own.
	write_interface_setting("ipv6", "default", "disable_ipv6", "1");
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = sock < 0 ? -errno : 0;
	if (setns(home, CLONE_NEWNET) < 0)
		abort(); // this thread would go on in a stranger's network
	*ret_socket = sock;
	return r;
}

static int add_pair(struct nl_sock *sock, const struct link_net *net, int net_fd, uint32_t address, struct err *err)
{
	char bridge[LINK_NAME_SIZE], name[LINK_NAME_SIZE];
	link_bridge_name(net->platform, bridge);
	link_name(net->platform, address, name);
	int master = (int)if_nametoindex(bridge);
	if (!master)
		return err_set(err, -ENODEV, "the node's bridge '%s' is gone", bridge);

	CLEANUP(link_clear) struct rtnl_link *link = rtnl_link_veth_alloc();
	rtnl_link_set_name(link, name);
	rtnl_link_set_master(link, master);
	rtnl_link_set_flags(link, IFF_UP);
	struct rtnl_link *peer = rtnl_link_veth_get_peer(link);
	rtnl_link_set_name(peer, INSIDE);
	rtnl_link_set_ns_fd(peer, net_fd);
	int r = set_mac(peer, address);
	rtnl_link_put(peer);
	if (r == 0)
		r = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
	if (r == -NLE_EXIST) { // of a predecessor with this address
		r = remove_link(sock, name, err);
		if (r == 0)
			r = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
	}
	return r < 0 ? nl_err(err, r, "cannot make the instance's interface") : 0;
}

static struct sockaddr_in ipv4(uint32_t address)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };
}

static int set_inside(int sock, unsigned long request, struct ifreq *request_data)
{
	return ioctl(sock, request, request_data) < 0 ? -errno : 0;
}

static int bring_up(int sock, const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_UP | IFF_RUNNING };
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return set_inside(sock, SIOCSIFFLAGS, &request);
}

// netdevice(7): the plainest way to an address on an interface that is known by name.
static int configure_inside(int sock, const struct link_net *net, uint32_t address)
{
	struct ifreq request = { .ifr_name = INSIDE };
	struct sockaddr_in own = ipv4(address), mask = ipv4(~(UINT32_MAX >> net->prefix)), gateway = ipv4(net->gateway);

	memcpy(&request.ifr_addr, &own, sizeof(own));
	int r = set_inside(sock, SIOCSIFADDR, &request);
	if (r < 0)
		return r;
	memcpy(&request.ifr_netmask, &mask, sizeof(mask));
	r = set_inside(sock, SIOCSIFNETMASK, &request);
	if (r == 0)
		r = bring_up(sock, INSIDE);
	if (r == 0)
		r = bring_up(sock, "lo");
	if (r < 0)
		return r;

	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in any = ipv4(0);
	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	memcpy(&route.rt_gateway, &gateway, sizeof(gateway));
	return ioctl(sock, SIOCADDRT, &route) < 0 ? -errno : 0;
}

int link_attach(const struct link_net *net, pid_t pid, uint32_t address, struct err *err)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	AUTO_CLOSE int net_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (net_fd < 0)
		return err_set_errno(err, -errno, "cannot open the container's network");

	AUTO_CLOSE int inside = -1;
	int r = prepare_inside(net_fd, &inside);
	if (r < 0)
		return err_set_errno(err, r, "cannot enter the container's network");

	CLEANUP(socket_clear) struct nl_sock *sock = NULL;
	r = open_socket(&sock, err);
	if (r < 0)
		return r;
	r = add_pair(sock, net, net_fd, address, err);
	if (r < 0)
		return r;
	r = configure_inside(inside, net, address);
	return r < 0 ? err_set_errno(err, r, "cannot give the container its address") : 0;
}

int link_detach(const char *platform, uint32_t address, struct err *err)
{
	char name[LINK_NAME_SIZE];
	link_name(platform, address, name);
	CLEANUP(socket_clear) struct nl_sock *sock = NULL;
	int r = open_socket(&sock, err);
	return r < 0 ? r : remove_link(sock, name, err);
}
