// Random histories against the laws of src/plan.
//   sim [--first SEED] [--count N]      histories SEED … SEED+N-1; fails at the first violation
//   sim --seed SEED [--bug NAME] [--trace]
//   sim --bug NAME --expect LAW         passes when some history with this bug violates this law
#include "world.h"

#include "base/str.h"

#include <getopt.h>

static const char *const bugs[] = {
	[BUG_NONE] = "none",     [BUG_SURGE] = "surge",       [BUG_HASTY] = "hasty", [BUG_FLOOR] = "floor",
	[BUG_FORGET] = "forget", [BUG_RESTLESS] = "restless", [BUG_SHORT] = "short", [BUG_DEAF] = "deaf",
	[BUG_ROOMY] = "roomy",   [BUG_EAGER] = "eager",       [BUG_PANIC] = "panic",
};

struct options {
	uint64_t first, count;
	enum bug bug;
	const char *expect;
	bool trace;
};

struct totals {
	uint64_t placed, stopped;
};

enum { BUSY_STEPS = 1200, CALM_STEPS = 9000, IDLE_STEPS = 300 };

// One look of the server at the world. Returns the number of actions.
static uint32_t think(struct world *world)
{
	struct view view, honest;
	struct plan plan;
	view_make(world, false, &view);
	view_make(world, true, &honest);
	plan_make(&view.input, &plan);
	laws_check_plan(world, &honest, &plan);
	world_apply(world, &view, &plan);
	uint32_t actions = plan.action_count;
	plan_clear(&plan);
	view_clear(&view);
	view_clear(&honest);
	return actions;
}

static uint32_t step(struct world *world)
{
	world->now_ms += STEP_MS;
	agents_step(world);
	messages_deliver(world);
	if (!world->calm)
		operators_step(world);
	uint32_t actions = world->calm || world_chance(world, 600) ? think(world) : 0;
	laws_check_world(world);
	return actions;
}

static void run_history(struct world *world)
{
	for (int i = 0; i < BUSY_STEPS && !world->violation.law; i++)
		step(world);
	operators_mend(world);
	int still = 0;
	for (int i = 0; i < CALM_STEPS && still < IDLE_STEPS && !world->violation.law; i++)
		still = step(world) ? 0 : still + 1;
	if (!world->violation.law && still < IDLE_STEPS)
		world_violate(world, "idle", "never comes to rest");
	if (!world->violation.law)
		laws_check_end(world);
}

static struct violation history(const struct options *options, uint64_t seed, struct totals *totals)
{
	struct world world;
	world_init(&world, seed, options->bug);
	world.trace = options->trace;
	run_history(&world);
	totals->placed += world.placed;
	totals->stopped += world.stopped;
	if (world.violation.law && !options->expect)
		fprintf(stderr, "seed %lu, after %.1f s: violates '%s': %s\n", (unsigned long)seed,
			(double)(world.now_ms - 1000000) / 1000, world.violation.law, world.violation.text);
	world_clear(&world);
	return world.violation;
}

static int run_all(const struct options *options, const char *self)
{
	struct totals totals = { 0 };
	for (uint64_t seed = options->first; seed < options->first + options->count; seed++) {
		struct violation violation = history(options, seed, &totals);
		if (!violation.law)
			continue;
		if (options->expect && str_eq(violation.law, options->expect)) {
			printf("bug '%s' was caught by '%s' (seed %lu): %s\n", bugs[options->bug], violation.law,
			       (unsigned long)seed, violation.text);
			return 0;
		}
		if (options->expect)
			continue;
		fprintf(stderr, "reproduce: %s --seed %lu%s%s --trace\n", self, (unsigned long)seed,
			options->bug ? " --bug " : "", options->bug ? bugs[options->bug] : "");
		return 1;
	}
	printf("%lu histories: %lu instances placed, %lu stopped\n", (unsigned long)options->count,
	       (unsigned long)totals.placed, (unsigned long)totals.stopped);
	if (options->expect)
		fprintf(stderr, "bug '%s' never violated '%s'\n", bugs[options->bug], options->expect);
	return options->expect || !totals.placed || !totals.stopped;
}

static uint64_t number(const char *text)
{
	uint64_t value = 0;
	if (parse_u64(text, UINT64_MAX, &value) < 0) {
		fprintf(stderr, "'%s' is not a number\n", text);
		exit(2);
	}
	return value;
}

static enum bug find_bug(const char *name)
{
	for (uint32_t i = 0; i < BUGS; i++)
		if (str_eq(name, bugs[i]))
			return (enum bug)i;
	fprintf(stderr, "no bug '%s'\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option known[] = { { "seed", 1, NULL, 's' },   { "first", 1, NULL, 'f' },
					       { "count", 1, NULL, 'c' },  { "bug", 1, NULL, 'b' },
					       { "expect", 1, NULL, 'e' }, { "trace", 0, NULL, 't' },
					       { NULL, 0, NULL, 0 } };
	struct options options = { .first = 1, .count = 200 };
	for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		if (c == 's')
			options.count = 1;
		if (c == 's' || c == 'f')
			options.first = number(optarg);
		else if (c == 'c')
			options.count = number(optarg);
		else if (c == 'b')
			options.bug = find_bug(optarg);
		else if (c == 'e')
			options.expect = optarg;
		else if (c == 't')
			options.trace = true;
		else
			return 2;
	}
	return run_all(&options, argv[0]);
}
