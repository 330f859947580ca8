// The container layer's pure parts: addresses, identities, the configuration that crun reads, the system-call filter.
#include "agent/container/addresses.h"
#include "agent/container/identity.h"
#include "agent/container/oci.h"
#include "agent/container/syscalls.h"
#include "base/str.h"

#include <errno.h>
#include <jansson.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cmocka.h>

static void addresses_come_round(void **state)
{
	(void)state;
	struct addresses a = { 0 };
	assert_int_equal(addresses_init(&a, "100.64.16.0/28", NULL), 0);
	assert_int_equal(addresses_gateway(&a), 0x64401001);
	uint32_t first, address;
	assert_int_equal(addresses_take(&a, &first, NULL), 0);
	assert_int_equal(first, 0x64401002);
	addresses_release(&a, first);
	for (uint32_t i = 3; i < 15; i++) { // an address just released is the last to be given again
		assert_int_equal(addresses_take(&a, &address, NULL), 0);
		assert_int_equal(address, 0x64401000 + i);
	}
	assert_int_equal(addresses_take(&a, &address, NULL), 0);
	assert_int_equal(address, first);
	struct err err = { 0 };
	assert_int_equal(addresses_take(&a, &address, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err.text, "13"));
	addresses_clear(&a);
	addresses_clear(&a);
}

static void addresses_are_held(void **state)
{
	(void)state;
	struct addresses a = { 0 };
	uint32_t address;
	assert_int_equal(addresses_init(&a, "10.16.0.0/20", NULL), 0);
	assert_int_equal(addresses_hold(&a, 0x0a100001), -ERANGE); // the gateway
	assert_int_equal(addresses_hold(&a, 0x0a100000), -ERANGE);
	assert_int_equal(addresses_hold(&a, 0x0a100fff), -ERANGE); // broadcast
	assert_int_equal(addresses_hold(&a, 0x0a101002), -ERANGE);
	assert_int_equal(addresses_hold(&a, 0x0a0fffff), -ERANGE);
	assert_int_equal(addresses_hold(&a, 0x0a100005), 0);
	assert_int_equal(addresses_hold(&a, 0x0a100005), -EEXIST);
	assert_int_equal(addresses_take(&a, &address, NULL), 0);
	assert_int_equal(address, 0x0a100006); // one that was in use before the restart is not given at once either
	addresses_release(&a, 0x01020304);
	addresses_clear(&a);
}

static void subnets_are_checked(void **state)
{
	(void)state;
	static const char *const bad[] = { "",
					   "100.64.16.0",
					   "100.64.16.0/15",
					   "100.64.16.0/29",
					   "100.64.16.1/20",
					   "100.64.16/20",
					   "100.64.16.0/20x",
					   "300.1.1.0/24",
					   "1.2.3.4.0/24",
					   " 10.0.0.0/16",
					   "a/b" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct addresses a = { 0 };
		assert_int_equal(addresses_init(&a, bad[i], NULL), -EINVAL);
	}
}

static void identities_do_not_meet(void **state)
{
	(void)state;
	uint32_t base = identity_base(0x64401002);
	assert_int_equal(base, 0x1002 * 1024);
	assert_int_equal(identity_outside(base, 1000, 0), base);
	assert_int_equal(identity_outside(base, 1000, 1000), base + 1000);
	assert_int_equal(identity_outside(base, 4000, 4000), base + 1022);
	assert_int_equal(identity_outside(base, 4000, 65534), base + 1023);
	assert_int_equal(identity_outside(base, 1000, 4000), UINT32_MAX);
	assert_int_equal(identity_base(0x64401003), base + IDENTITY_RANGE);
}

static struct container_spec plain_spec(void)
{
	static const char *const words[] = { "node", "server.js", NULL }, *const env[] = { "A=b", NULL },
				 *const layers[] = { "/l" };
	struct container_spec spec = CONTAINER_SPEC_INIT;
	spec.id = "web-1";
	spec.dir = "/tmp";
	spec.environment = "t/e";
	spec.address = 0x64401002;
	spec.layers = layers;
	spec.n_layers = 1;
	spec.words = words;
	spec.env = env;
	spec.uid = spec.gid = 1000;
	spec.memory_bytes = 1 << 20;
	spec.cpu_millis = 250;
	return spec;
}

static const struct oci_setting setting = { .cgroup = "/dialtone-x/web-1",
					    .filter = "AAAA",
					    .files_limit = 1024,
					    .limits = { .cpu_quota = true, .swap = true } };

static json_t *config_of(const struct container_spec *spec)
{
	AUTO_FREE char *text = NULL;
	struct err err = { 0 };
	if (oci_config(spec, &setting, &text, &err) < 0)
		fail_msg("%s", err.text);
	json_t *config = json_loads(text, 0, NULL);
	assert_non_null(config);
	return config;
}

static void configuration_is_hard(void **state)
{
	(void)state;
	struct container_spec spec = plain_spec();
	json_t *config = config_of(&spec);
	json_t *process = json_object_get(config, "process"), *sets = json_object_get(process, "capabilities"), *set;
	const char *name;
	assert_int_equal(json_object_size(sets), 5);
	json_object_foreach(sets, name, set) assert_int_equal(json_array_size(set), 0);
	assert_true(json_is_true(json_object_get(process, "noNewPrivileges")));
	assert_true(json_is_true(json_object_get(json_object_get(config, "root"), "readonly")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(process, "args"), 0)), "/.dialtone/init");

	json_t *system = json_object_get(config, "linux"), *resources = json_object_get(system, "resources");
	assert_int_equal(json_array_size(json_object_get(system, "namespaces")), 7);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(resources, "memory"), "swap")), 1 << 20);
	json_t *cpu = json_object_get(resources, "cpu");
	assert_int_equal(json_integer_value(json_object_get(cpu, "quota")), 25000);
	assert_int_equal(json_integer_value(json_object_get(cpu, "shares")), 256);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(resources, "pids"), "limit")), 512);
	json_decref(config);
}

static void builders_keep_the_network(void **state)
{
	(void)state;
	struct container_spec spec = plain_spec();
	spec.host_network = true;
	spec.writable = "/w";
	json_t *config = config_of(&spec);
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(json_object_get(config, "linux"), "namespaces"), i, item)
		assert_string_not_equal(json_string_value(json_object_get(item, "type")), "network");
	json_array_foreach(json_object_get(config, "mounts"), i, item)
		assert_string_not_equal(json_string_value(json_object_get(item, "type")), "sysfs"); // the machine's
	assert_true(json_is_false(json_object_get(json_object_get(config, "root"), "readonly")));
	json_decref(config);
}

static void text_must_be_utf8(void **state)
{
	(void)state;
	struct container_spec spec = plain_spec();
	AUTO_FREE char *text = NULL;
	struct err err = { 0 };
	static const char *const words[] = { "node", "\xc3\x28", NULL };
	spec.words = words;
	assert_int_equal(oci_config(&spec, &setting, &text, &err), -EINVAL);
	assert_non_null(strstr(err.text, "number 2"));
	spec = plain_spec();
	spec.cwd = "\xff";
	assert_int_equal(oci_config(&spec, &setting, &text, &err), -EINVAL);
	assert_null(text);
}

// What the filter says to a call: a classic BPF machine with the instructions that libseccomp uses (bpf(4),
// seccomp(2)).
static uint32_t verdict(const struct sock_filter *code, size_t n, const struct seccomp_data *call)
{
	uint32_t a = 0;
	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *at = &code[pc];
		switch (at->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const char *)call + at->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= at->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += at->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == at->k ? at->jt : at->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > at->k ? at->jt : at->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= at->k ? at->jt : at->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += a & at->k ? at->jt : at->jf;
			break;
		case BPF_RET | BPF_K:
			return at->k;
		default:
			fail_msg("instruction %#x", at->code);
		}
	}
	fail_msg("no verdict");
	return 0;
}

static struct {
	struct sock_filter *code;
	size_t n;
} filter;

static uint32_t call(long number, uint64_t a0, uint64_t a1, uint64_t a2)
{
	struct seccomp_data data = { .nr = (int)number, .arch = AUDIT_ARCH_X86_64, .args = { a0, a1, a2 } };
	return verdict(filter.code, filter.n, &data);
}

#define REFUSED(code) (SECCOMP_RET_ERRNO | (code))

static void filter_allows_what_programs_need(void **state)
{
	(void)state;
	static const int numbers[] = { SYS_read,      SYS_write,      SYS_openat, SYS_execve,   SYS_mmap,
				       SYS_futex,     SYS_epoll_wait, SYS_fork,   SYS_vfork,    SYS_accept4,
				       SYS_getrandom, SYS_rseq,       SYS_statx,  SYS_sendfile, SYS_exit_group };
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_int_equal(call(numbers[i], 0, 0, 0), SECCOMP_RET_ALLOW);
	uint64_t thread =
		CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS;
	assert_int_equal(call(SYS_clone, thread, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(call(SYS_clone, CLONE_VM | CLONE_VFORK | 17, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(call(SYS_socket, AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 6), SECCOMP_RET_ALLOW);
	assert_int_equal(call(SYS_socket, AF_INET, SOCK_DGRAM, 17), SECCOMP_RET_ALLOW);
	assert_int_equal(call(SYS_socket, AF_UNIX, SOCK_SEQPACKET, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(call(SYS_personality, 0xffffffff, 0, 0), SECCOMP_RET_ALLOW);
}

static void filter_refuses_the_rest(void **state)
{
	(void)state;
	static const int numbers[] = { SYS_unshare,
				       SYS_setns,
				       SYS_mount,
				       SYS_keyctl,
				       SYS_bpf,
				       SYS_io_uring_setup,
				       SYS_io_uring_enter,
				       SYS_perf_event_open,
				       SYS_ptrace,
				       SYS_userfaultfd,
				       SYS_kexec_load,
				       SYS_add_key,
				       SYS_open_by_handle_at,
				       SYS_init_module,
				       SYS_process_vm_writev };
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_int_equal(call(numbers[i], 0, 0, 0), REFUSED(EPERM));
	for (int bit = 0; bit < 32; bit++) {
		uint64_t flag = (uint64_t)1 << bit, kinds = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
							    CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
		assert_int_equal(call(SYS_clone, flag | 17, 0, 0), flag & kinds ? REFUSED(EPERM) : SECCOMP_RET_ALLOW);
	}
	assert_int_equal(call(SYS_clone, CLONE_NEWUSER | (uint64_t)1 << 40, 0, 0), REFUSED(EPERM));
	assert_int_equal(call(SYS_clone3, 0, 88, 0), REFUSED(ENOSYS));
	assert_int_equal(call(1000, 0, 0, 0), REFUSED(ENOSYS)); // of a kernel that we do not know
	assert_int_equal(call(SYS_personality, 0x40000, 0, 0), REFUSED(ENOSYS));
	for (unsigned family = 0; family < AF_MAX; family++) {
		if (family != AF_UNIX && family != AF_INET && family != AF_INET6 && family != AF_NETLINK)
			assert_int_equal(call(SYS_socket, family, SOCK_STREAM, 0), REFUSED(EAFNOSUPPORT));
	}
	assert_int_equal(call(SYS_socket, AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1), REFUSED(EPERM));
	assert_true(call(SYS_socket, AF_NETLINK, SOCK_RAW, 12) != SECCOMP_RET_ALLOW);
	assert_true(call(SYS_socketpair, AF_INET, SOCK_STREAM, 0) != SECCOMP_RET_ALLOW);

	struct seccomp_data other = { .nr = 20, .arch = AUDIT_ARCH_I386 };
	assert_true(verdict(filter.code, filter.n, &other) != SECCOMP_RET_ALLOW);
	assert_true(call(0x40000000 | SYS_getpid, 0, 0, 0) != SECCOMP_RET_ALLOW); // x32
}

static int compile(void **state)
{
	(void)state;
	void *bytes = NULL;
	size_t size = 0;
	assert_int_equal(syscalls_compile_bytes(&bytes, &size, NULL), 0);
	filter.code = bytes;
	filter.n = size / sizeof(*filter.code);
	return 0;
}

static int release(void **state)
{
	(void)state;
	free(filter.code);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_come_round),
		cmocka_unit_test(addresses_are_held),
		cmocka_unit_test(subnets_are_checked),
		cmocka_unit_test(identities_do_not_meet),
		cmocka_unit_test(configuration_is_hard),
		cmocka_unit_test(builders_keep_the_network),
		cmocka_unit_test(text_must_be_utf8),
#ifdef __x86_64__
		cmocka_unit_test(filter_allows_what_programs_need),
		cmocka_unit_test(filter_refuses_the_rest),
#endif
	};
	return cmocka_run_group_tests(tests, compile, release);
}
