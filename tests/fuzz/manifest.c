// Manifests and Procfiles from outside: whatever is accepted must survive JSON unchanged.
#include "model/manifest.h"
#include "model/command.h"

#include "base/str.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_commands(const struct spec *spec)
{
	for (uint32_t i = 0; i < spec->process_count; i++) {
		CLEANUP(words_clear) struct words words = { 0 };
		struct err err = { 0 };
		if (spec->processes[i].command && command_split(spec->processes[i].command, i % 2, &words, &err) >= 0)
			assert(words.count);
	}
}

static void check_round_trip(const struct spec *spec)
{
	AUTO_FREE char *text = spec_text(spec);
	struct err err = { 0 };
	CLEANUP(spec_clear) struct spec again = { 0 };
	AUTO_JSON json_t *json = spec_write(spec);
	if (spec_parse(json, &again, NULL, &err) < 0)
		__builtin_trap();
	AUTO_FREE char *other = spec_text(&again);
	assert(str_eq(text, other));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const struct manifest_source source = {
		.file = "fuzz", .text = (const char *)bytes, .len = n, .fallback_name = "app"
	};
	CLEANUP(spec_clear) struct spec spec = { 0 }, procfile = { 0 };
	struct err err = { 0 };
	if (manifest_parse(&source, &spec, &err) >= 0) {
		check_commands(&spec);
		check_round_trip(&spec);
	} else {
		assert(*err.text);
	}
	if (procfile_parse(&source, &procfile, &err) >= 0)
		check_commands(&procfile);
	return 0;
}
