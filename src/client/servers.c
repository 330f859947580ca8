#include "client/servers.h"

#include "base/log.h"
#include "base/str.h"
#include "client/link.h"
#include "io/file.h"
#include "model/exchange.h"

#include <errno.h>

enum { SERVERS_MAX = 100, FILE_MAX = 1 << 20 };

struct entry {
	struct list link; // on the list of all
	struct client_servers *servers;
	char *address;
	bool fixed; // of the addresses given: stays
	bool told;  // is in what was told last
	struct client_link *api;
	struct client_watch *watch; // of the servers, as this one tells them
	void *item;                 // the owner's
};

struct client_servers {
	struct client_servers_spec spec;
	char *token, *file;
	struct list all, followers;
	size_t count;
	uint64_t revision;    // of what was told last
	struct entry *teller; // who told it
	uint64_t term;        // of the one that decides
	char *leader;         // its address; NULL: none that is known
};

static struct entry *find(struct client_servers *servers, const char *address)
{
	struct entry *entry;
	LIST_EACH(entry, &servers->all, link)
		if (str_eq(entry->address, address))
			return entry;
	return NULL;
}

static void entry_free(struct entry *entry)
{
	struct client_servers *servers = entry->servers;
	struct list *at;
	for (at = servers->followers.next; at != &servers->followers; at = at->next)
		client_watch_leave(client_watch_of(at), entry->api);
	client_watch_stop(entry->watch);
	if (servers->spec.gone && entry->item)
		servers->spec.gone(entry->item, servers->spec.arg);
	if (servers->teller == entry)
		servers->teller = NULL;
	list_remove(&entry->link);
	servers->count--;
	client_link_free(entry->api);
	free(entry->address);
	free(entry);
}

// ---- what is told

static void on_event(const struct sse_event *event, void *arg);

static void say_state(bool connected, const struct err *err, void *arg)
{
	struct entry *entry = arg;
	if (connected)
		log_info("server=%s there", entry->address);
	else
		log_warn("server=%s away: %s", entry->address, err->text);
}

static int add(struct client_servers *servers, const char *address, struct entry **ret, struct err *err)
{
	if (servers->count == SERVERS_MAX)
		return err_set(err, -E2BIG, "more than %d servers", SERVERS_MAX);
	struct client_link *api = client_link_new(servers->spec.loop, address, servers->token, err);
	if (!api)
		return err ? err->code : -EINVAL;
	struct entry *entry = xcalloc(1, sizeof(*entry));
	*entry = (struct entry){ .servers = servers, .address = xstrdup(address), .api = api };
	list_append(&servers->all, &entry->link);
	servers->count++;
	if (servers->spec.came)
		entry->item = servers->spec.came(api, address, servers->spec.arg);
	if (servers->file)
		entry->watch = client_watch_start(api, &(struct client_watch_spec){ .path = "/v1/servers/watch",
										    .on_event = on_event,
										    .on_state = say_state,
										    .arg = entry });
	*ret = entry;
	return 0;
}

static void save(const struct client_servers *servers)
{
	AUTO_JSON json_t *list = json_array();
	const struct entry *entry;
	LIST_EACH(entry, &servers->all, link)
		if (entry->told)
			json_array_append_new(list, json_string(entry->address));
	AUTO_JSON json_t *json = json_pack("{s:O}", "servers", list);
	AUTO_FREE char *text = json_to_text(json);
	struct err err = { 0 };
	if (file_write_atomic(servers->file, text, strlen(text), 0600, &err) < 0)
		log_warn("list of servers not kept: %s", err.text);
}

// Makes what is there of what was told. The teller's own entry may go: not before the event is over.
static void take_list(struct client_servers *servers, const struct servers_told *told)
{
	struct entry *entry;
	bool changed = false;
	LIST_EACH(entry, &servers->all, link)
		entry->told = false;
	for (uint32_t i = 0; i < told->server_count; i++) {
		struct err err = { 0 };
		entry = find(servers, told->servers[i].api);
		if (!entry && add(servers, told->servers[i].api, &entry, &err) < 0) {
			log_warn("server=%s is passed over: %s", told->servers[i].name, err.text);
			continue;
		}
		entry->told = changed = true;
	}
	LIST_EACH(entry, &servers->all, link)
		if (!entry->told && !entry->fixed && entry != servers->teller)
			entry_free(entry);
	if (changed)
		save(servers);
}

static void take_leader(struct client_servers *servers, const struct servers_told *told)
{
	const struct server_info *leader = NULL;
	for (uint32_t i = 0; i < told->server_count; i++)
		if (told->servers[i].term)
			leader = &told->servers[i];
	free(servers->leader);
	servers->leader = leader ? xstrdup(leader->api) : NULL;
	struct entry *entry = leader ? find(servers, leader->api) : NULL;
	if (!entry || leader->term == servers->term)
		return;
	servers->term = leader->term;
	log_info("server=%s decides", leader->api);
	for (struct list *at = servers->followers.next; at != &servers->followers; at = at->next)
		client_watch_move(client_watch_of(at), entry->api);
}

static void on_event(const struct sse_event *event, void *arg)
{
	struct entry *entry = arg;
	struct client_servers *servers = entry->servers;
	struct servers_told told = { 0 };
	struct err err = { 0 };
	if (!str_eq(event->event, "servers"))
		return;
	if (servers_told_parse_text(event->data, event->data_len, &told, &err) < 0) {
		log_error("list of servers of %s cannot be read: %s", entry->address, err.text);
		return;
	}
	// One that is behind says nothing new. After a restore of the store from a backup revisions may start lower.
	if (told.server_count && (told.revision >= servers->revision || entry == servers->teller)) {
		servers->revision = told.revision;
		servers->teller = entry;
		take_list(servers, &told);
		take_leader(servers, &told);
	}
	servers_told_clear(&told);
}

// ---- choosing

struct client_link *client_servers_pick(struct client_servers *servers, const struct client_link *last,
					const char *address)
{
	struct entry *entry = address ? find(servers, address) : NULL;
	if (!entry && !last && servers->leader)
		entry = find(servers, servers->leader);
	if (entry)
		return entry->api;
	struct list *at = servers->all.next;
	LIST_EACH(entry, &servers->all, link)
		if (entry->api == last)
			at = entry->link.next;
	if (at == &servers->all)
		at = at->next;
	return LIST_ENTRY(at, struct entry, link)->api;
}

struct client_watch *client_servers_watch(struct client_servers *servers, const struct client_watch_spec *spec)
{
	return client_watch_follow(servers, servers->spec.loop, &servers->followers, spec);
}

char *client_servers_addresses(const struct client_servers *servers)
{
	AUTO_BUF struct buf text = BUF_INIT(SERVERS_MAX * 300);
	buf_add_str(&text, servers->leader ? servers->leader : "");
	const struct entry *entry;
	LIST_EACH(entry, &servers->all, link)
		if (!str_eq(entry->address, servers->leader))
			buf_addf(&text, "%s%s", buf_len(&text) ? "," : "", entry->address);
	return buf_take(&text);
}

// ---- the whole

static int add_fixed(struct client_servers *servers, const char *addresses, struct err *err)
{
	AUTO_FREE char *copy = xstrdup(addresses);
	char *rest = copy;
	for (char *address; (address = strsep(&rest, ","));) {
		struct entry *entry = find(servers, address);
		int r = entry || !*address ? 0 : add(servers, address, &entry, err);
		if (r < 0)
			return r;
		if (entry)
			entry->fixed = true;
	}
	return servers->count ? 0 : err_set(err, -EINVAL, "no address of a server is given");
}

static void load(struct client_servers *servers)
{
	AUTO_BUF struct buf text = BUF_INIT(FILE_MAX);
	AUTO_JSON json_t *json = NULL;
	if (file_read(servers->file, &text, NULL) < 0 ||
	    json_from_bytes(buf_data(&text), buf_len(&text), &json, NULL) < 0)
		return;
	size_t i;
	json_t *address;
	json_array_foreach(json_object_get(json, "servers"), i, address)
	{
		struct entry *entry = json_is_string(address) ? find(servers, json_string_value(address)) : NULL;
		if (!entry && json_is_string(address))
			add(servers, json_string_value(address), &entry, NULL);
		if (entry)
			entry->told = true;
	}
}

int client_servers_new(const struct client_servers_spec *spec, struct client_servers **ret, struct err *err)
{
	struct client_servers *servers = xcalloc(1, sizeof(*servers));
	servers->spec = *spec;
	servers->token = spec->token ? xstrdup(spec->token) : NULL;
	servers->file = spec->file ? xstrdup(spec->file) : NULL;
	list_init(&servers->all);
	list_init(&servers->followers);
	int r = add_fixed(servers, spec->addresses, err);
	if (r < 0) {
		client_servers_free(servers);
		return r;
	}
	if (servers->file)
		load(servers);
	*ret = servers;
	return 0;
}

void client_servers_free(struct client_servers *servers)
{
	if (!servers)
		return;
	struct entry *entry;
	LIST_EACH(entry, &servers->all, link)
		entry_free(entry);
	free(servers->leader);
	free(servers->token);
	free(servers->file);
	free(servers);
}
