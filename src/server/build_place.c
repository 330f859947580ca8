#include "base/str.h"
#include "image/artifact.h"
#include "image/stack.h"
#include "server/builds.h"

#include <errno.h>

#define BUILD_STACK_DEFAULT "build"

void build_place_clear(struct build_place *place)
{
	free(place->runtime);
	free(place->key);
	*place = (struct build_place){};
}

static void compute_key(const struct image *runtime, const struct image *stack, const char *artifact,
			const char *command, char key[DIGEST_SIZE])
{
	size_t n = 0;
	AUTO_FREE const char **layers =
		xcalloc(runtime->n_build_layers + runtime->n_layers + stack->n_layers + 1, sizeof(*layers));
	for (size_t i = 0; i < runtime->n_build_layers; i++)
		layers[n++] = runtime->build_layers[i];
	for (size_t i = 0; i < runtime->n_layers; i++)
		layers[n++] = runtime->layers[i];
	for (size_t i = 0; i < stack->n_layers; i++)
		layers[n++] = stack->layers[i];
	build_cache_key(artifact, command, layers, n, key);
}

int build_place_make(const char *cache, const char *runtime_ref, const char *artifact, const char *command,
		     struct build_place *ret, struct err *err)
{
	AUTO_IMAGE struct image runtime = {}, stack = {};
	const char *ref = str_empty(runtime_ref) ? "none" : runtime_ref;
	int r = runtime_find(cache, ref, &runtime, err);
	if (r < 0)
		return r;
	if (!runtime.build_ready) {
		err_set(err, -ENOENT, "the build part of runtime '%s@%s' is not in the cache", runtime.name,
			runtime.version);
		return err_hint(err, "build it: dialtone runtime build %s", runtime.name);
	}
	r = stack_find(cache, runtime.build_stack ? runtime.build_stack : BUILD_STACK_DEFAULT, &stack, err);
	if (r < 0)
		return r;
	char key[DIGEST_SIZE];
	compute_key(&runtime, &stack, artifact, command, key);
	ret->runtime = xasprintf("%s@%s", runtime.name, runtime.version);
	ret->key = xstrdup(key);
	return 0;
}
