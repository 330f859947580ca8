#include "main/commands.h"

#include "model/platform.h"

static const struct cli_option up_options[] = {
	{ "data", 0, "DIR", "where everything is kept; default " PLATFORM_DATA_DEFAULT, CLI_TEXT },
	{ "cache", 0, "DIR", "packages, built stacks and runtimes; may be shared; default " PLATFORM_CACHE_DEFAULT,
	  CLI_TEXT },
	{ "http", 0, "ADDR:PORT", "where applications are served; default " PLATFORM_HTTP_DEFAULT, CLI_LISTEN },
	{ "api", 0, "ADDR:PORT", "where the platform's API is; default " PLATFORM_API_DEFAULT, CLI_LISTEN },
	{ "domain", 0, "NAME", "applications are at APP.NAME; default " PLATFORM_DOMAIN_DEFAULT, CLI_TEXT },
	{ "store", 0, "etcd://…", "the store that several machines share, instead of SQLite in --data", CLI_TEXT },
	{ "store-ca", 0, "FILE", "PEM: whom to believe that they are the store; makes it TLS", CLI_TEXT },
	{ "store-cert", 0, "FILE", "PEM: this server's certificate for the store", CLI_TEXT },
	{ "store-key", 0, "FILE", "PEM: its key", CLI_TEXT },
	{ "name", 0, "NAME", "of this server among several; default: the host's and the platform's id", CLI_TEXT },
	{ "servers", 0, "URL,…", "of an agent that starts before its own server: where servers are", CLI_TEXT },
	{ "detach", 'd', NULL, "return when everything is ready and run in the background", CLI_TEXT },
	{ 0 },
};
static const struct cli_option down_options[] = {
	{ "data", 0, "DIR", "the platform's data directory; default " PLATFORM_DATA_DEFAULT, CLI_TEXT },
	{ "apps", 0, NULL, "stop the applications too; nothing is left but data and cache", CLI_TEXT },
	{ 0 },
};
static const struct cli_option doctor_options[] = {
	{ "data", 0, "DIR", "the platform's data directory; default: of the one that 'up' started last", CLI_TEXT },
	{ "api", 0, "URL", "the platform's API; default: of the one that 'up' started last", CLI_URL },
	{ "cache", 0, "DIR", "content cache; default: the platform's", CLI_TEXT },
	{ "deep", 0, NULL, "read every layer and every uploaded file, and compare them with their digests", CLI_TEXT },
	{ 0 },
};

static const struct cli_option store_options[] = {
	{ "data", 0, "DIR", "the store of the platform with this data directory, directly", CLI_TEXT },
	{ "store", 0, "STORE", "a store directly: etcd://ADDR:PORT,… or its directory", CLI_TEXT },
	{ "store-ca", 0, "FILE", "certificate authority of etcd, PEM", CLI_TEXT },
	{ "store-cert", 0, "FILE", "client certificate for etcd, PEM", CLI_TEXT },
	{ "store-key", 0, "FILE", "its key, PEM", CLI_TEXT },
	{ "api", 0, "URL", "the platform's API; default: of the one that 'up' started last", CLI_URL },
	{ "replace", 0, NULL, "restore, migrate: in the place of whatever the store holds", CLI_TEXT },
	{ 0 },
};

const struct cli_command machine_commands[] = {
	{ "up", "", "Start the platform on this machine and keep it running until Ctrl-C; needs root", "This machine",
	  0, 0, up_options, command_up, true, false,
	  "What is given is remembered for the next 'up'. Applications that still run are taken over." },
	{ "down", "", "Stop the platform on this machine; needs root", "This machine", 0, 0, down_options, command_down,
	  true, false,
	  "Applications run on, with one process that keeps their output; the next 'up' takes them over." },
	{ "doctor", "", "Check this machine and its platform, and say what to mend", "This machine", 0, 0,
	  doctor_options, command_doctor, true, false, NULL },
	{ "store", "status|backup FILE|restore FILE|compact|migrate FROM TO",
	  "Show, back up, restore, compact or move the platform's state", "This machine", 1, 3, store_options,
	  command_store, true, false,
	  "status, backup and compact ask the platform; with --data or --store they work on the store itself,\n"
	  "as restore and migrate always do. FROM and TO are stores as for --store, or data directories." },
	{ 0 },
};
