#include "client/config.h"

#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/stat.h>

static char home[64];

static void clear_environment(void)
{
	unsetenv("DIALTONE_API");
	unsetenv("DIALTONE_TOKEN");
	unsetenv("DIALTONE_TENANT");
	unsetenv("DIALTONE_ENVIRONMENT");
}

static int prepare(void **state UNUSED)
{
	snprintf(home, sizeof(home), "/tmp/dialtone-config-XXXXXX");
	assert_non_null(mkdtemp(home));
	setenv("HOME", home, 1);
	clear_environment();
	return 0;
}

static int cleanup(void **state UNUSED)
{
	return tree_remove(home, NULL);
}

static void nothing_known(void **state UNUSED)
{
	AUTO_CLIENT_CONFIG struct client_config config = { 0 };
	struct err err = { 0 };
	assert_int_equal(client_config_load(NULL, &config, &err), -ENOENT);
	assert_non_null(strstr(err.hint, "dialtone up"));
}

static void keeps_several(void **state UNUSED)
{
	struct err err = { 0 };
	AUTO_CLIENT_CONFIG struct client_config current = { 0 };
	AUTO_CLIENT_CONFIG struct client_config first = { 0 };
	assert_int_equal(client_config_store("http://127.0.0.1:7070", "one", "/data/one", &err), 0);
	assert_int_equal(client_config_store("http://127.0.0.1:7071", "two", "/data/two", &err), 0);
	assert_int_equal(client_config_load(NULL, &current, &err), 0);
	assert_string_equal(current.address, "http://127.0.0.1:7071");
	assert_string_equal(current.token, "two");
	assert_string_equal(current.tenant, "default");
	assert_int_equal(client_config_load("http://127.0.0.1:7070", &first, &err), 0);
	assert_string_equal(first.token, "one");
	assert_string_equal(first.data, "/data/one");
	AUTO_CLIENT_CONFIG struct client_config spelled = { 0 };
	assert_int_equal(client_config_load("http://localhost:7070/", &spelled, &err), 0);
	assert_string_equal(spelled.address, "http://127.0.0.1:7070");
	assert_string_equal(spelled.token, "one");

	AUTO_FREE char *path = xasprintf("%s/.config/dialtone/config.json", home);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void environment_goes_first(void **state UNUSED)
{
	struct err err = { 0 };
	AUTO_CLIENT_CONFIG struct client_config config = { 0 };
	setenv("DIALTONE_API", "http://127.0.0.1:9", 1);
	setenv("DIALTONE_TOKEN", "given", 1);
	setenv("DIALTONE_ENVIRONMENT", "prod", 1);
	assert_int_equal(client_config_load(NULL, &config, &err), 0);
	assert_string_equal(config.address, "http://127.0.0.1:9");
	assert_string_equal(config.token, "given");
	AUTO_FREE char *path = client_environment_path(&config, "apps/%s", "shop");
	assert_string_equal(path, "/v1/tenants/default/environments/prod/apps/shop");
	AUTO_FREE char *blobs = client_tenant_path(&config, "blobs");
	assert_string_equal(blobs, "/v1/tenants/default/blobs");
	clear_environment();
}

static void damaged_file_is_named(void **state UNUSED)
{
	struct err err = { 0 };
	AUTO_CLIENT_CONFIG struct client_config config = { 0 };
	AUTO_FREE char *dir = xasprintf("%s/.config/dialtone", home);
	AUTO_FREE char *path = xasprintf("%s/config.json", dir);
	assert_int_equal(dir_make(dir, 0700, &err), 0);
	assert_int_equal(file_write_atomic(path, "{\"x\":", 5, 0600, &err), 0);
	assert_int_equal(client_config_load(NULL, &config, &err), -EINVAL);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(client_config_store("http://127.0.0.1:7070", "t", "/data", &err), -EINVAL);
}

static void escapes(void **state UNUSED)
{
	AUTO_FREE char *text = client_escape("a b/ü~");
	assert_string_equal(text, "a%20b%2F%C3%BC~");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_known),	  cmocka_unit_test(keeps_several),
		cmocka_unit_test(environment_goes_first), cmocka_unit_test(damaged_file_is_named),
		cmocka_unit_test(escapes),
	};
	return cmocka_run_group_tests(tests, prepare, cleanup);
}
