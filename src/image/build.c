#include "image/build.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "image/image-file.h"
#include "image/layer.h"
#include "image/locate.h"
#include "image/making.h"
#include "image/paths.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

struct build {
	const char *cache;
	const struct image_build_options *options;
	struct recipe recipe;
	struct recipe_lock lock;
	struct image over, build_over;
	char made_from[DIGEST_SIZE];
	struct image image; // what becomes of it
	struct recipe_lock resolved;
	int turn; // flock: one process at a time builds this
};

static void build_clear(struct build *b)
{
	recipe_clear(&b->recipe);
	recipe_lock_clear(&b->lock);
	recipe_lock_clear(&b->resolved);
	image_clear(&b->over);
	image_clear(&b->build_over);
	image_clear(&b->image);
	if (b->turn >= 0)
		close(b->turn);
}

static void add_to(struct digest *d, const char *text)
{
	text = text ? text : "";
	digest_add(d, text, strlen(text) + 1);
}

static void add_pairs(struct digest *d, const struct keyed *p)
{
	for (size_t i = 0; i < p->n; i++) {
		add_to(d, p->items[i].key);
		add_to(d, p->items[i].value);
	}
}

// Everything that the result depends on, so that the cache can tell whether it is there already.
static void compute_made_from(struct build *b)
{
	struct digest *d = digest_new();
	add_to(d, "dialtone image 1");
	add_to(d, b->recipe.text);
	const struct lock_part *parts[] = { &b->lock.main, &b->lock.build };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		add_pairs(d, &parts[i]->debian);
		add_pairs(d, &parts[i]->npm);
	}
	for (size_t i = 0; i < b->over.n_layers; i++)
		add_to(d, b->over.layers[i]);
	digest_finish(d, b->made_from);
}

static bool layers_ready(const char *cache, char **layers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!layer_ready(cache, layers[i]))
			return false;
	return true;
}

static bool is_same(const struct build *b, const char *path, struct image *ret)
{
	AUTO_FREE char *made_from = NULL;
	AUTO_IMAGE struct image i = { 0 };
	if (image_file_read(path, b->recipe.kind, &i, &made_from, NULL) < 0 || !str_eq(made_from, b->made_from))
		return false;
	if (!layers_ready(b->cache, i.layers, i.n_layers) || !layers_ready(b->cache, i.build_layers, i.n_build_layers))
		return false;
	*ret = i;
	i = (struct image){ 0 };
	return true;
}

static bool in_cache(struct build *b)
{
	AUTO_FREE char *dir = image_folder(b->cache, b->recipe.kind, b->recipe.name);
	DIR *d = opendir(dir);
	bool found = false;
	for (struct dirent *e; d && !found && (e = readdir(d));) {
		AUTO_FREE char *path = xasprintf("%s/%s", dir, e->d_name);
		found = str_ends(path, ".json") && is_same(b, path, &b->image);
	}
	if (d)
		closedir(d);
	return found;
}

// The folder above the one that a recipe is in: where its own stacks/ would be.
static char *folder_above(const char *recipe)
{
	const char *slash = strrchr(recipe, '/');
	AUTO_FREE char *dir = slash ? xstrndup(recipe, (size_t)(slash - recipe)) : xstrdup(".");
	return xasprintf("%s/..", dir);
}

static bool have_stack(const char *cache, const char *ref, struct image *ret)
{
	AUTO_IMAGE struct image found = { 0 };
	if (stack_find(cache, ref, &found, NULL) < 0 || !layers_ready(cache, found.layers, found.n_layers))
		return false;
	*ret = found;
	found = (struct image){ 0 };
	return true;
}

static int no_stack(const struct build *b, const char *above, const char *ref, struct err *err)
{
	err_set(err, -ENOENT,
		"there is no stack '%s': no recipe in '%s/stacks', none among the shipped ones, none built in '%s'",
		ref, above, b->cache);
	return err_hint(err, "name one that `dialtone stacks` lists, or build it first: dialtone stack build RECIPE");
}

// A recipe's own folder goes first, then what is built already, then the shipped recipes.
static int find_stack(struct build *b, const char *ref, struct image *ret, struct err *err)
{
	AUTO_FREE char *above = folder_above(b->recipe.path), *path = NULL;
	int r = recipe_of_stack(above, ref, &path);
	if (r == -ENOENT) {
		if (have_stack(b->cache, ref, ret))
			return 0;
		r = recipe_of_stack(b->options->share, ref, &path);
	}
	if (r == -ENOENT)
		return no_stack(b, above, ref, err);
	if (r < 0)
		return err_set_errno(err, r, "cannot read the recipes of stacks");
	struct image_build_options options = {
		.share = b->options->share,
		.progress = b->options->progress,
		.arg = b->options->arg,
		.lock = b->options->lock == LOCK_STRICT ? LOCK_STRICT : LOCK_PREFER,
	};
	const char *at = strchr(ref, '@');
	r = image_build(path, b->cache, &options, ret, NULL, err);
	if (r == 0 && ret->kind != IMAGE_STACK)
		r = err_set(err, -EINVAL, "'%s' is not a stack", path);
	if (r == 0 && at && !version_covers(at + 1, ret->version))
		r = err_set(err, -ENOENT, "'%s' gives version %s", path, ret->version);
	return r;
}

static int stack_below(struct build *b, const char *ref, struct image *ret, struct err *err)
{
	int r = ref ? find_stack(b, ref, ret, err) : 0;
	return r < 0 ? err_wrap(err, "stack '%s' below '%s'", ref, b->recipe.name) : 0;
}

static int run_steps(struct making *m, char digest[DIGEST_SIZE], uint64_t *ret_bytes, struct err *err)
{
	int r = cache_scratch(m->cache, &m->scratch, err);
	if (r < 0)
		return r;
	m->root = xasprintf("%s/root", m->scratch);
	if (mkdir(m->root, 0755) < 0)
		return err_set_errno(err, -errno, "cannot make '%s'", m->root);
	r = making_debian(m, err);
	if (r == 0)
		r = making_npm(m, err);
	if (r == 0)
		r = making_finish(m, err);
	return r < 0 ? r : layer_commit(m->cache, m->root, digest, ret_bytes, err);
}

// One layer over those below. *ret_digest stays empty when the recipe puts nothing in.
static int make_layer(struct build *b, const struct layer_recipe *recipe, const struct lock_part *lock,
		      const char *const *below, size_t n_below, struct lock_part *resolved, uint64_t *ret_bytes,
		      struct err *err)
{
	if (layer_recipe_is_empty(recipe))
		return 0;
	struct making m = { .cache = b->cache,
			    .recipe = recipe,
			    .below = below,
			    .n_below = n_below,
			    .options = b->options,
			    .strict = b->options->lock == LOCK_STRICT };
	m.lock = b->options->lock == LOCK_UPDATE ? NULL : lock;
	int r = run_steps(&m, m.resolved.layer, ret_bytes, err);
	if (m.scratch)
		tree_remove(m.scratch, NULL);
	free(m.scratch);
	free(m.root);
	*resolved = m.resolved;
	return r;
}

static int check_locked(struct build *b, const struct lock_part *lock, const struct lock_part *resolved,
			const char *what, struct err *err)
{
	if (!lock->layer[0] || str_eq(lock->layer, resolved->layer) || b->options->lock == LOCK_UPDATE)
		return 0;
	if (b->options->lock == LOCK_STRICT)
		return err_set(err, -EBADMSG, "%s: the layer is %s, its lock says %s", what, resolved->layer,
			       lock->layer);
	if (b->options->progress) {
		char line[300];
		snprintf(line, sizeof(line), "%s: not the layer of the lock (%.19s, not %.19s)", what, resolved->layer,
			 lock->layer);
		b->options->progress(b->options->arg, line);
	}
	return 1;
}

static char *add_layer(char ***layers, size_t *n, const char *digest)
{
	*layers = xreallocarray(*layers, *n + 1, sizeof(**layers));
	return (*layers)[(*n)++] = xstrdup(digest);
}

static void set_env(struct env_pair **env, size_t *n, const char *name, const char *value)
{
	for (size_t i = 0; i < *n; i++)
		if (str_eq((*env)[i].name, name)) {
			free((*env)[i].value);
			(*env)[i].value = xstrdup(value);
			return;
		}
	*env = xreallocarray(*env, *n + 1, sizeof(**env));
	(*env)[(*n)++] = (struct env_pair){ xstrdup(name), xstrdup(value) };
}

// "3.11.2-6+deb12u9" is 3.11.2, "17.0.21.1+2-1~deb12u1" is 17.0.21.1.
static char *upstream_version(const char *debian)
{
	const char *colon = strchr(debian, ':');
	debian = colon ? colon + 1 : debian;
	return xstrndup(debian, strcspn(debian, "-+~"));
}

static int name_version(struct build *b, bool as_locked, struct err *err)
{
	const char *of = b->recipe.version_of ? keyed_get(&b->resolved.main.debian, b->recipe.version_of) : NULL;
	if (b->recipe.version_of && !of)
		return err_set(err, -EINVAL, "%s: version-of names '%s', which is not among the packages",
			       b->recipe.path, b->recipe.version_of);
	AUTO_FREE char *version = of ? upstream_version(of) : xstrdup(b->recipe.version);
	b->image.version = as_locked ? TAKE_PTR(version) : xasprintf("%s-%.8s", version, b->resolved.main.layer + 7);
	return 0;
}

static void describe(struct build *b, uint64_t bytes)
{
	struct image *i = &b->image;
	const struct recipe *r = &b->recipe;
	i->kind = r->kind;
	i->name = xstrdup(r->name);
	i->about = r->about ? xstrdup(r->about) : NULL;
	i->command = r->command ? xstrdup(r->command) : NULL;
	i->has_shell = r->has_shell || b->over.has_shell;
	i->bytes = bytes;
	i->built_ms = realtime_ms();
	if (b->resolved.main.layer[0])
		add_layer(&i->layers, &i->n_layers, b->resolved.main.layer);
	if (r->kind == IMAGE_STACK) {
		for (size_t n = 0; n < b->over.n_layers; n++)
			add_layer(&i->layers, &i->n_layers, b->over.layers[n]);
		for (size_t n = 0; n < b->over.n_env; n++)
			set_env(&i->env, &i->n_env, b->over.env[n].name, b->over.env[n].value);
	} else {
		i->stack = xasprintf("%s@%s", b->over.name, b->over.version);
		i->build_stack = r->build_over ? xstrdup(r->build_over) : NULL;
		i->build_ready = !r->build_over;
	}
	for (size_t n = 0; n < r->layer.env.n; n++)
		set_env(&i->env, &i->n_env, r->layer.env.items[n].key, r->layer.env.items[n].value);
	for (size_t n = 0; n < r->build.env.n; n++)
		set_env(&i->build_env, &i->n_build_env, r->build.env.items[n].key, r->build.env.items[n].value);
	const struct keyed *lists[] = { &b->resolved.main.debian, &b->resolved.main.npm };
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (size_t n = 0; n < lists[l]->n; n++) {
			const struct keyed_item *p = &lists[l]->items[n];
			AUTO_FREE char *version = xstrndup(p->value, strcspn(p->value, " "));
			AUTO_FREE char *text = xasprintf("%s=%s", p->key, version);
			add_layer(&i->packages, &i->n_packages, text);
		}
}

static int build_main(struct build *b, struct err *err)
{
	uint64_t bytes = 0;
	int r = make_layer(b, &b->recipe.layer, &b->lock.main, (const char *const *)b->over.layers, b->over.n_layers,
			   &b->resolved.main, &bytes, err);
	if (r == 0)
		r = check_locked(b, &b->lock.main, &b->resolved.main, b->recipe.name, err);
	if (r < 0)
		return r;
	describe(b, bytes);
	return name_version(b, r == 0, err);
}

// The part for build containers lies over the runtime, which lies over the stack for builds.
static int build_part(struct build *b, struct err *err)
{
	int r = stack_below(b, b->recipe.build_over, &b->build_over, err);
	if (r < 0)
		return r;
	AUTO_FREE const char **below = xcalloc(b->image.n_layers + b->build_over.n_layers, sizeof(*below));
	size_t n = 0;
	for (size_t i = 0; i < b->image.n_layers; i++)
		below[n++] = b->image.layers[i];
	for (size_t i = 0; i < b->build_over.n_layers; i++)
		below[n++] = b->build_over.layers[i];
	uint64_t bytes = 0;
	r = make_layer(b, &b->recipe.build, &b->lock.build, below, n, &b->resolved.build, &bytes, err);
	if (r == 0)
		r = check_locked(b, &b->lock.build, &b->resolved.build, "build part", err);
	if (r < 0)
		return err_wrap(err, "build part");
	if (b->resolved.build.layer[0])
		add_layer(&b->image.build_layers, &b->image.n_build_layers, b->resolved.build.layer);
	b->image.build_ready = true;
	return 0;
}

static int update_lock(struct build *b, bool with_build, struct err *err)
{
	struct recipe_lock l = { b->resolved.main, with_build ? b->resolved.build : b->lock.build };
	return recipe_lock_write(b->recipe.path, &l, err);
}

// Scratch folders of builds that were killed: nothing takes a day.
static void remove_leftovers(const char *tmp)
{
	DIR *d = opendir(tmp);
	uint64_t now = realtime_ms() / 1000;
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		AUTO_FREE char *path = xasprintf("%s/%s", tmp, e->d_name);
		if (S_ISDIR(st.st_mode) && (uint64_t)st.st_ctim.tv_sec + 86400 < now)
			tree_remove(path, NULL);
	}
	if (d)
		closedir(d);
}

static int take_turn(struct build *b, struct err *err)
{
	static const char *const kinds[] = { [IMAGE_STACK] = "stack", [IMAGE_RUNTIME] = "runtime" };
	AUTO_FREE char *dir = xasprintf("%s/tmp", b->cache);
	AUTO_FREE char *path = xasprintf("%s/%s-%s.turn", dir, kinds[b->recipe.kind], b->recipe.name);
	int r = dir_make(dir, 0755, err);
	if (r < 0)
		return r;
	remove_leftovers(dir);
	b->turn = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (b->turn < 0 || flock(b->turn, LOCK_EX) < 0)
		return err_set_errno(err, -errno, "cannot lock '%s'", path);
	return 0;
}

// A version may be built again with another content: from an edited recipe without a lock, or with a lock that is
// made anew.
static void say_if_redefined(const struct build *b)
{
	AUTO_FREE char *dir = image_folder(b->cache, b->recipe.kind, b->recipe.name);
	AUTO_FREE char *path = xasprintf("%s/%s.json", dir, b->image.version);
	AUTO_IMAGE struct image before = { 0 };
	if (!b->options->progress || image_file_read(path, b->recipe.kind, &before, NULL, NULL) < 0)
		return;
	const char *old = before.n_layers ? before.layers[0] : "nothing";
	const char *new = b->image.n_layers ? b->image.layers[0] : "nothing";
	if (str_eq(old, new))
		return;
	char line[400];
	snprintf(line, sizeof(line),
		 "%s@%s is another one from now on (%.19s, was %.19s): what runs keeps the old one, and the next push "
		 "of "
		 "an app takes the new one; `dialtone plan` shows it. A new version in the recipe keeps both",
		 b->image.name, b->image.version, new, old);
	b->options->progress(b->options->arg, line);
}

static int make_what_is_missing(struct build *b, bool *ret_built, struct err *err)
{
	bool force = b->options->force || b->options->lock == LOCK_UPDATE;
	bool have = !force && in_cache(b);
	bool with_build = b->options->with_build && b->recipe.build_over;
	*ret_built = !have || (with_build && !b->image.build_ready);
	int r = have ? 0 : build_main(b, err);
	if (r == 0 && with_build && !b->image.build_ready)
		r = build_part(b, err);
	if (r == 0 && b->options->lock == LOCK_UPDATE) {
		// From here on the lock is what the result was made from.
		r = update_lock(b, with_build, err);
		recipe_lock_clear(&b->lock);
		if (r == 0)
			r = recipe_lock_read(b->recipe.path, &b->lock, err);
		compute_made_from(b);
	}
	if (r < 0 || !*ret_built)
		return r;
	say_if_redefined(b);
	return image_file_write(b->cache, &b->image, b->made_from, err);
}

static int build_all(struct build *b, const char *recipe, bool *ret_built, struct err *err)
{
	int r = recipe_read(recipe, &b->recipe, err);
	if (r == 0)
		r = recipe_lock_read(recipe, &b->lock, err);
	if (r == 0)
		r = stack_below(b, b->recipe.over, &b->over, err);
	if (r == 0)
		r = take_turn(b, err);
	if (r < 0)
		return r;
	compute_made_from(b);
	r = make_what_is_missing(b, ret_built, err);
	return r < 0 ? err_wrap(err, "building '%s'", b->recipe.name) : 0;
}

int image_build(const char *recipe, const char *cache, const struct image_build_options *options, struct image *ret,
		bool *ret_built, struct err *err)
{
	static const struct image_build_options defaults;
	int r = dir_make(cache, 0755, err);
	if (r < 0)
		return r;
	AUTO_FREE char *absolute = realpath(cache, NULL);
	if (!absolute)
		return err_set_errno(err, -errno, "cannot open the cache '%s'", cache);
	CLEANUP(build_clear)
	struct build b = { .cache = absolute, .options = options ? options : &defaults, .turn = -1 };
	bool built = false;
	r = build_all(&b, recipe, &built, err);
	if (r < 0)
		return r;
	if (ret_built)
		*ret_built = built;
	*ret = b.image;
	b.image = (struct image){ 0 };
	return 0;
}
