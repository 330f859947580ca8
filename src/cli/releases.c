#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

int command_releases(struct cli *cli)
{
	AUTO_FREE char *name = client_escape(cli->args[0]);
	AUTO_FREE char *path = client_environment_path(&cli->config, "apps/%s/releases", name);
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_list(cli, path, &answer);
	if (status != CLI_OK || cli->json)
		return status != CLI_OK ? status : print_json(answer.json);

	static const char *const titles[] = { "release", "came up", "made", "by", "runtime", "artifact", "reason", NULL };
	struct listing *t = listing_new(cli, titles);
	size_t i;
	json_t *release;
	json_array_foreach(json_object_get(answer.json, "items"), i, release) {
		char age[SHORT_TEXT_SIZE];
		age_text(get_number(release, "created_ms"), age);
		const char *artifact = get_text(release, "artifact");
		listing_cell(t, "%u%s", (unsigned)get_number(release, "release"), get_flag(release, "current") ? " *" : "");
		listing_cell(t, "%s", get_flag(release, "came_up") ? "yes" : "no");
		listing_cell(t, "%s ago", age);
		listing_cell(t, "%s", get_text(release, "by"));
		listing_cell(t, "%s", get_text(json_object_get(release, "spec"), "runtime"));
		listing_cell(t, "%.12s", str_starts(artifact, "sha256:") ? artifact + 7 : artifact);
		listing_cell(t, "%s", get_text(release, "reason"));
	}
	listing_end(t, "no releases");
	return CLI_OK;
}
