// Who reaches whom: two environments of one platform, a second platform, the machine and the world outside, all in
// network namespaces of the test's own.
#include "stage.h"

#include "base/str.h"
#include "io/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PORT "7070"
#define MACHINE "10.99.0.1"
#define LINK_LOCAL "169.254.1.1"
#define OUTSIDE "198.51.100.2"
#define OUTSIDE_ADDRESS 0xc6336402
#define OUTSIDE_LINK_LOCAL "169.254.1.2"

static const char *probe;
static struct stage one, two;
static struct instance friend, ally, stranger, neighbour; // the ally: of the friend's environment
static pid_t machine_pid, outside_pid;
static int machine_out = -1, outside_out = -1; // what is heard there

static const char *const serve_words[] = { "probe", "serve", PORT, NULL };

static void sh(const char *script)
{
	const char *const argv[] = { "sh", "-ec", script, NULL };
	struct err err = { 0 };
	if (process_check(argv, 20000, &err) < 0)
		fail_msg("%s", err.text);
}

// Serves on the machine itself, or, with a script, in a network namespace of its own that the script sets up.
static pid_t serve_on_machine(const char *script, int *ret_out_fd)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid > 0) {
		close(fds[1]);
		*ret_out_fd = fds[0];
		return pid;
	}
	dup2(fds[1], STDOUT_FILENO);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (script && unshare(CLONE_NEWNET) == 0)
		execlp("sh", "sh", "-ec", script, probe, NULL);
	execl(probe, "probe", "serve", PORT, NULL);
	_exit(127);
}

static bool reaches(const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(7070) };
	inet_pton(AF_INET, address, &to.sin_addr);
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval limit = { .tv_sec = 1 };
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

static void wait_until_reached(const char *address)
{
	for (int i = 0; i < 100 && !reaches(address); i++)
		poll(NULL, 0, 50);
	if (!reaches(address))
		fail_msg("nobody serves at %s", address);
}

static void open_world(void)
{
	sh("ip addr add " MACHINE "/32 dev lo; ip addr add " LINK_LOCAL "/32 dev lo");
	machine_pid = serve_on_machine(NULL, &machine_out);
	outside_pid = serve_on_machine("until ip link show world; do sleep 0.02; done >/dev/null 2>&1\n"
				       "ip link set lo up; ip link set world up; ip addr add " OUTSIDE "/24 dev world\n"
				       "ip addr add " OUTSIDE_LINK_LOCAL "/32 dev world\n"
				       "ip route add 100.64.0.0/10 via 198.51.100.1\n"
				       "exec \"$0\" serve " PORT,
				       &outside_out);
	AUTO_FREE char *script =
		xasprintf("until [ \"$(readlink /proc/%d/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ];"
			  " do sleep 0.02; done; ip link add uplink type veth peer name world netns %d\n"
			  "ip link set uplink up; ip addr add 198.51.100.1/24 dev uplink\n"
			  "ip route add default via " OUTSIDE "; ip route add " OUTSIDE_LINK_LOCAL " dev uplink",
			  outside_pid, outside_pid);
	sh(script);
	wait_until_reached(MACHINE);
	wait_until_reached(LINK_LOCAL);
	wait_until_reached(OUTSIDE);
}

static void serve_inside(struct instance *instance, struct stage *stage, const char *id, const char *environment)
{
	instance_init(instance, stage, id, serve_words);
	instance->spec.environment = environment;
	instance_start(instance, stage);
	assert_true(instance_expect(instance, "serving\n"));
	char address[IPV4_TEXT_SIZE];
	ipv4_write(instance->spec.address, address);
	wait_until_reached(address); // as the router does
}

static int open_all(void **state)
{
	(void)state;
	open_world();
	stage_open(&one, "netone", "100.64.48.0/20", probe);
	stage_open(&two, "nettwo", "100.64.64.0/20", probe);
	serve_inside(&friend, &one, "friend", "t/e");
	serve_inside(&ally, &one, "ally", "t/e");
	serve_inside(&stranger, &one, "stranger", "t/other");
	serve_inside(&neighbour, &two, "neighbour", "t/e");
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	instance_clear(&friend, &one);
	instance_clear(&ally, &one);
	instance_clear(&stranger, &one);
	stage_close(&one);
	char address[IPV4_TEXT_SIZE];
	ipv4_write(neighbour.spec.address, address);
	wait_until_reached(address); // the other platform went on
	instance_clear(&neighbour, &two);
	stage_close(&two);
	kill(machine_pid, SIGKILL);
	kill(outside_pid, SIGKILL);
	waitpid(machine_pid, NULL, 0);
	waitpid(outside_pid, NULL, 0);
	return 0;
}

static char *word(const char *key, uint32_t address)
{
	char text[IPV4_TEXT_SIZE];
	ipv4_write(address, text);
	return xasprintf("%s=%s:" PORT, key, text);
}

// The word that ends a round; everything said earlier in the round was heard by then, or never will be.
static char end_word[32];

static void begin_round(void)
{
	static int round;
	snprintf(end_word, sizeof(end_word), "genuine-%d.", ++round);
}

static char *say(uint32_t to, uint32_t from, const char *what)
{
	char to_text[IPV4_TEXT_SIZE], from_text[IPV4_TEXT_SIZE] = "";
	ipv4_write(to, to_text);
	if (from)
		ipv4_write(from, from_text);
	return xasprintf("say=%s:" PORT ",%s,%s", to_text, from_text, what);
}

static void check_from_inside(uint32_t uid)
{
	begin_round();
	uint32_t gateway = container_host_gateway(one.host);
	char *words[] = {
		xstrdup("probe"),
		xstrdup("network"),
		word("friend", friend.spec.address),
		word("friend_udp", friend.spec.address),
		word("stranger", stranger.spec.address),
		word("stranger_udp", stranger.spec.address),
		word("neighbour", neighbour.spec.address),
		word("gateway", gateway),
		word("gateway_udp", gateway),
		xstrdup("machine=" MACHINE ":" PORT),
		xstrdup("machine_udp=" MACHINE ":" PORT),
		xstrdup("machine=198.51.100.1:" PORT),
		xstrdup("link_local=" LINK_LOCAL ":" PORT),
		xstrdup("outside=" OUTSIDE ":" PORT),
		xstrdup("outside_link_local=" OUTSIDE_LINK_LOCAL ":" PORT),
		say(friend.spec.address, gateway, "spoofed-gateway"),
		say(friend.spec.address, stranger.spec.address, "spoofed-stranger"),
		say(friend.spec.address, 0x0a000001, "spoofed-outside"),
		say(friend.spec.address, ally.spec.address, "spoofed-ally"),
		say(OUTSIDE_ADDRESS, ally.spec.address, "spoofed-to-outside"),
		say(OUTSIDE_ADDRESS, 0x0a000001, "spoofed-from-nowhere"),
		say(OUTSIDE_ADDRESS, 0, end_word),
		say(stranger.spec.address, friend.spec.address, "spoofed-friend"),
		say(stranger.spec.address, 0, "trespass"),
		say(0x64403fff, 0, "broadcast"), // 100.64.63.255
		say(friend.spec.address, 0, end_word),
		NULL,
	};
	struct instance prober;
	instance_init(&prober, &one, "prober", (const char *const *)words);
	prober.spec.uid = prober.spec.gid = uid;
	instance_start(&prober, &one);
	int status = instance_wait(&prober);
	AUTO_BUF struct buf report = BUF_INIT(1 << 20);
	instance_output(&prober, &report);
	instance_clear(&prober, &one);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !strstr(buf_str(&report), "reach_stranger refused"))
		fail_msg("status %#x:\n%s", (unsigned)status, buf_str(&report));
	for (char **at = words; *at; at++)
		free(*at);
}

// Nothing but the end of rounds and the echo test's "ping" may be heard.
static void check_heard_by(const char *who, int fd)
{
	AUTO_BUF struct buf heard = BUF_INIT(1 << 20);
	char byte;
	while (!strstr(buf_str(&heard), end_word) && read(fd, &byte, 1) == 1)
		buf_add(&heard, &byte, 1);
	if (strstr(buf_str(&heard), "spoofed") || strstr(buf_str(&heard), "broadcast"))
		fail_msg("%s heard: %s", who, buf_str(&heard));
}

static void check_heard(void)
{
	check_heard_by("the friend", friend.out_fd);
	check_heard_by("the outside", outside_out);
	struct pollfd readable = { .fd = stranger.out_fd, .events = POLLIN };
	if (poll(&readable, 1, 200) == 1) {
		char text[256] = "";
		assert_true(read(stranger.out_fd, text, sizeof(text) - 1) > 0);
		fail_msg("the stranger heard: %s", text);
	}
}

static void isolation(void **state)
{
	(void)state;
	check_from_inside(1000);
	check_heard();
}

static void isolation_of_root(void **state)
{
	(void)state;
	check_from_inside(0);
	check_heard();
}

// An application cannot make such packets at all. Should one find a way, they do not leave its port: here the machine's
// root makes them in the instance's place, with the friend's ally's address, then with another MAC address.
static void spoofed_packets_stay(void **state)
{
	(void)state;
	begin_round();
	static const char *const words[] = { "probe", "wait", NULL };
	struct instance spoofer;
	instance_init(&spoofer, &one, "spoofer", words);
	instance_start(&spoofer, &one);
	char ally_text[IPV4_TEXT_SIZE];
	ipv4_write(ally.spec.address, ally_text);
	AUTO_FREE char *to_friend = say(friend.spec.address, ally.spec.address, "spoofed-ally");
	AUTO_FREE char *to_outside = say(OUTSIDE_ADDRESS, ally.spec.address, "spoofed-ally");
	AUTO_FREE char *by_mac = say(friend.spec.address, 0, "spoofed-mac");
	AUTO_FREE char *by_mac_outside = say(OUTSIDE_ADDRESS, 0, "spoofed-mac");
	AUTO_FREE char *friend_end = say(friend.spec.address, 0, end_word);
	AUTO_FREE char *outside_end = say(OUTSIDE_ADDRESS, 0, end_word);
	AUTO_FREE char *script = xasprintf("exec nsenter -t %d -n sh -ec 'P=%s; ip addr add %s/32 dev eth0; $P network "
					   "%s %s; ip addr del %s/32 dev eth0\n"
					   "M=$(ip -o link show eth0 | sed \"s/.*ether \\([0-9a-f:]*\\).*/\\1/\")\n"
					   "ip link set eth0 address 02:d1:64:40:30:99; $P network %s %s\n"
					   "ip link set eth0 address $M; $P network %s %s'",
					   spoofer.pid, probe, ally_text, to_friend, to_outside, ally_text, by_mac,
					   by_mac_outside, friend_end, outside_end);
	sh(script);
	check_heard();
	instance_clear(&spoofer, &one);
}

static void outside_reaches_no_instance(void **state)
{
	(void)state;
	char address[IPV4_TEXT_SIZE];
	ipv4_write(friend.spec.address, address);
	AUTO_FREE char *script = xasprintf("nsenter -t %d -n %s network stranger=%s:" PORT " gateway=100.64.48.1:9",
					   outside_pid, probe, address);
	sh(script);
}

// The agent was restarted: rules are set anew from what it knows, and running instances notice nothing.
static void adoption(void **state)
{
	(void)state;
	struct container_member members[] = {
		{ friend.spec.address, "t/e" },
		{ ally.spec.address, "t/e" },
		{ stranger.spec.address, "t/other" },
	};
	struct err err = { 0 };
	container_host_close(one.host);
	if (container_host_open(&one.config, members, 3, &one.host, &err) < 0)
		fail_msg("%s", err.text);
	check_from_inside(1000);
	check_heard();
}

// What `systemctl restart nftables` does to everybody's rules.
static void flushed_rules_come_back(void **state)
{
	(void)state;
	struct err err = { 0 };
	assert_int_equal(container_host_repair(one.host, &err), 0);
	sh("nft flush ruleset");
	for (int i = 0; i < 2; i++) {
		struct stage *stage = i ? &two : &one;
		if (container_host_repair(stage->host, &err) != 1)
			fail_msg("%s", err.text);
		assert_int_equal(container_host_repair(stage->host, &err), 0);
	}
	check_from_inside(1000);
	check_heard();
}

static void overlap_is_refused(void **state)
{
	(void)state;
	struct container_host *host = NULL;
	struct err err = { 0 };
	struct container_host_config config = { .platform = "third", .data = one.data, .subnet = "100.64.48.0/24" };
	assert_int_equal(container_host_open(&config, NULL, 0, &host, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "dtnetone"));
	assert_int_equal(container_host_remove(&config, &err), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(isolation),
		cmocka_unit_test(isolation_of_root),
		cmocka_unit_test(spoofed_packets_stay),
		cmocka_unit_test(outside_reaches_no_instance),
		cmocka_unit_test(adoption),
		cmocka_unit_test(flushed_rules_come_back),
		cmocka_unit_test(overlap_is_refused),
	};
	int r = stage_enter();
	if (r || argc < 2)
		return r ? r : 1;
	probe = argv[1];
	return cmocka_run_group_tests(tests, open_all, close_all);
}
