#include "agent/container/firewall.h"

#include "base/buf.h"
#include "base/str.h"

#include <errno.h>
#include <nftables/libnftables.h>

enum { RULES_MAX = 64 << 20 };

// $ is the platform, % its subnet. `destroy` is not known to nftables 1.0.6: `add` before `delete` never fails.
static const char skeleton[] =
	"add table bridge dialtone_$\n"
	"delete table bridge dialtone_$\n"
	"table bridge dialtone_$ {\n"
	"	set own { type ifname . ether_addr . ipv4_addr; }\n"
	"	map environment { type ipv4_addr : mark; }\n"
	"	set member { type mark . ipv4_addr; }\n"
	"	chain from {\n"
	"		type filter hook prerouting priority -300; policy accept;\n"
	"		iifname \"dt$.*\" jump port\n"
	"	}\n"
	"	chain port {\n"
	"		ip daddr 169.254.0.0/16 drop\n"
	"		ether type ip iifname . ether saddr . ip saddr @own accept\n"
	"		ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4"
	" iifname . ether saddr . arp saddr ip @own iifname . arp saddr ether . arp saddr ip @own accept\n"
	"		drop\n"
	"	}\n"
	"	chain between {\n"
	"		type filter hook forward priority -200; policy accept;\n"
	"		iifname \"dt$.*\" jump pair\n"
	"	}\n"
	"	chain pair {\n"
	"		meta mark set 0\n"
	"		ether type ip meta mark set ip saddr map @environment\n"
	"		ether type ip meta mark . ip daddr @member accept\n"
	"		ether type arp meta mark set arp saddr ip map @environment\n"
	"		ether type arp meta mark . arp daddr ip @member accept\n"
	"		drop\n"
	"	}\n"
	"}\n"
	"add table inet dialtone_$\n"
	"delete table inet dialtone_$\n"
	"table inet dialtone_$ {\n"
	"	chain input {\n"
	"		type filter hook input priority -10; policy accept;\n"
	"		iifname != \"dt$\" accept\n"
	"		ct state established,related accept\n"
	"		drop\n"
	"	}\n"
	"	chain forward {\n"
	"		type filter hook forward priority -10; policy accept;\n"
	"		iifname \"dt$\" oifname \"dt$\" accept\n" // seen here only where br_netfilter is loaded
	"		iifname \"dt$\" jump out\n"
	"		oifname \"dt$\" ct state established,related accept\n"
	"		oifname \"dt$\" drop\n"
	"	}\n"
	"	chain out {\n"
	"		meta nfproto ipv6 drop\n"
	"		ip daddr { 0.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } drop\n"
	"		accept\n"
	"	}\n"
	"	chain leave {\n"
	"		type nat hook postrouting priority 100; policy accept;\n"
	"		ip saddr % oifname != \"dt$\" masquerade\n"
	"	}\n"
	"}\n";

static void add_expanded(struct buf *rules, const char *text, const char *platform, const char *subnet)
{
	for (const char *at = text; *at;) {
		size_t plain = strcspn(at, "$%");
		buf_add(rules, at, plain);
		at += plain;
		if (*at)
			buf_add_str(rules, *at++ == '$' ? platform : subnet);
	}
}

static int run(struct nft_ctx *nft, struct buf *rules, const char *what, struct err *err)
{
	if (nft_run_cmd_from_buffer(nft, buf_str(rules)) == 0)
		return 0;

	AUTO_FREE char *words = xstrdup(nft_ctx_get_error_buffer(nft));
	words[strcspn(words, "\n")] = '\0';
	err_set(err, -EIO, "cannot %s: nftables: %s", what, words);
	return err_hint(err, "the kernel must have nftables with the bridge, inet and nat families (modules nft_*)");
}

static int open_nft(struct nft_ctx **ret, struct err *err)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return err_set(err, -ENOMEM, "cannot open nftables");
	nft_ctx_buffer_output(nft);
	nft_ctx_buffer_error(nft);
	*ret = nft;
	return 0;
}

static uint32_t number_of(struct firewall *firewall, const char *environment)
{
	uintptr_t number = (uintptr_t)map_get(&firewall->numbers, environment);
	if (!number) {
		number = ++firewall->last_number;
		map_set(&firewall->numbers, environment, (void *)number);
	}
	return (uint32_t)number;
}

static uint32_t *slot(struct firewall *firewall, uint32_t address)
{
	uint32_t size = (uint32_t)1 << (32 - firewall->net.prefix);
	uint32_t index = address - (firewall->net.gateway - 1);
	return index < size ? &firewall->environments[index] : NULL;
}

// The three elements that make an address a member; verb: "add" or "delete".
static void add_elements(struct buf *rules, const struct firewall *firewall, const char *verb, uint32_t address,
			 uint32_t number)
{
	const char *platform = firewall->net.platform;
	char text[IPV4_TEXT_SIZE], name[LINK_NAME_SIZE], mac[LINK_MAC_SIZE];
	ipv4_write(address, text);
	link_name(platform, address, name);
	link_mac(address, mac);
	buf_addf(rules, "%s element bridge dialtone_%s own { \"%s\" . %s . %s }\n", verb, platform, name, mac, text);
	buf_addf(rules, "%s element bridge dialtone_%s environment { %s : %u }\n", verb, platform, text, number);
	buf_addf(rules, "%s element bridge dialtone_%s member { %u . %s }\n", verb, platform, number, text);
}

static void note_members(struct firewall *firewall, const struct container_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t *number = slot(firewall, members[i].address);
		if (number && members[i].environment)
			*number = number_of(firewall, members[i].environment);
	}
}

// Both tables, whole and in one transaction, from what is noted.
static int set_tables(struct firewall *firewall, struct err *err)
{
	AUTO_BUF struct buf rules = BUF_INIT(RULES_MAX);
	char network[IPV4_TEXT_SIZE], subnet[32];
	ipv4_write(firewall->net.gateway - 1, network);
	snprintf(subnet, sizeof(subnet), "%s/%u", network, firewall->net.prefix);
	add_expanded(&rules, skeleton, firewall->net.platform, subnet);

	uint32_t size = (uint32_t)1 << (32 - firewall->net.prefix);
	for (uint32_t i = 0; i < size; i++) {
		if (firewall->environments[i])
			add_elements(&rules, firewall, "add", firewall->net.gateway - 1 + i, firewall->environments[i]);
	}
	return run(firewall->nft, &rules, "set the network rules", err);
}

int firewall_open(struct firewall *firewall, const struct link_net *net, const struct container_member *members,
		  size_t n, struct err *err)
{
	*firewall = (struct firewall){ .net = *net };
	int r = open_nft(&firewall->nft, err);
	if (r < 0)
		return r;
	firewall->environments = xcalloc((size_t)1 << (32 - net->prefix), sizeof(*firewall->environments));
	note_members(firewall, members, n);
	r = set_tables(firewall, err);
	if (r < 0)
		firewall_close(firewall);
	return r;
}

void firewall_close(struct firewall *firewall)
{
	if (firewall->nft)
		nft_ctx_free(firewall->nft);
	map_clear(&firewall->numbers);
	free(firewall->environments);
	*firewall = (struct firewall){ 0 };
}

int firewall_repair(struct firewall *firewall, struct err *err)
{
	// nftables 1.0.6 finds chains only for a command of its own.
	static const char *const questions[] = { "list chain bridge dialtone_$ pair",
						 "list chain inet dialtone_$ input" };
	bool whole = true;
	for (size_t i = 0; i < ARRAY_LEN(questions) && whole; i++) {
		AUTO_BUF struct buf question = BUF_INIT(RULES_MAX);
		add_expanded(&question, questions[i], firewall->net.platform, "");
		whole = run(firewall->nft, &question, "see the network rules", NULL) == 0;
	}
	if (whole)
		return 0;
	int r = set_tables(firewall, err);
	return r < 0 ? r : 1;
}

int firewall_add(struct firewall *firewall, uint32_t address, const char *environment, struct err *err)
{
	uint32_t *number = slot(firewall, address);
	if (!number)
		return err_set(err, -ERANGE, "the instance's address is not of this node's subnet");
	if (*number == number_of(firewall, environment))
		return 0;
	if (*number)
		return err_set(err, -EADDRINUSE, "the instance's address is that of another instance");

	AUTO_BUF struct buf rules = BUF_INIT(RULES_MAX);
	add_elements(&rules, firewall, "add", address, number_of(firewall, environment));
	int r = run(firewall->nft, &rules, "let the instance into the network", err);
	if (r == 0)
		*number = number_of(firewall, environment);
	return r;
}

int firewall_remove(struct firewall *firewall, uint32_t address, struct err *err)
{
	uint32_t *number = slot(firewall, address);
	if (!number || !*number)
		return 0;
	AUTO_BUF struct buf rules = BUF_INIT(RULES_MAX);
	add_elements(&rules, firewall, "delete", address, *number);
	int r = run(firewall->nft, &rules, "take the instance out of the network", err);
	if (r == 0)
		*number = 0;
	return r;
}

int firewall_remove_tables(const char *platform, struct err *err)
{
	struct nft_ctx *nft = NULL;
	int r = open_nft(&nft, err);
	if (r < 0)
		return r;
	AUTO_BUF struct buf rules = BUF_INIT(RULES_MAX);
	add_expanded(&rules,
		     "add table bridge dialtone_$\ndelete table bridge dialtone_$\n"
		     "add table inet dialtone_$\ndelete table inet dialtone_$\n",
		     platform, "");
	r = run(nft, &rules, "remove the network rules", err);
	nft_ctx_free(nft);
	return r;
}
