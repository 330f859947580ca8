#include "base/str.h"
#include "image/artifact.h"
#include "image/stack.h"
#include "server/builds.h"
#include "server/image_env.h"

#include <errno.h>

#define BUILD_STACK_DEFAULT "build"

void build_place_clear(struct build_place *place)
{
	for (uint32_t i = 0; i < place->layer_count; i++)
		free(place->layers[i]);
	free(place->layers);
	pairs_free(place->env, place->env_count);
	free(place->key);
	*place = (struct build_place){};
}

static void add_layers(struct build_place *place, char *const *layers, size_t n)
{
	place->layers = xreallocarray(place->layers, place->layer_count + n + 1, sizeof(*place->layers));
	for (size_t i = 0; i < n; i++)
		place->layers[place->layer_count++] = xstrdup(layers[i]);
}

static void add_env(struct build_place *place, const struct env_pair *env, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pairs_set(&place->env, &place->env_count, env[i].name, env[i].value);
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
		err_set(err, -ENOENT, "the build part of runtime '%s@%s' is not in the cache", runtime.name, runtime.version);
		return err_hint(err, "build it: dialtone runtime build --with-build %s", runtime.name);
	}
	r = stack_find(cache, runtime.build_stack ? runtime.build_stack : BUILD_STACK_DEFAULT, &stack, err);
	if (r < 0)
		return r;
	struct build_place place = {};
	add_layers(&place, runtime.build_layers, runtime.n_build_layers);
	add_layers(&place, runtime.layers, runtime.n_layers);
	add_layers(&place, stack.layers, stack.n_layers);
	add_env(&place, stack.env, stack.n_env);
	add_env(&place, runtime.env, runtime.n_env);
	add_env(&place, runtime.build_env, runtime.n_build_env);
	char key[DIGEST_SIZE];
	build_cache_key(artifact, command, (const char *const *)place.layers, place.layer_count, key);
	place.key = xstrdup(key);
	*ret = place;
	return 0;
}
