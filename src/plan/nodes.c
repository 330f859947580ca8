// Which nodes are there, what they hold, and which one is best for an instance.
#include "plan/planner.h"

#include "base/rng.h"

static bool is_silent(const struct planner *planner, const struct plan_node *node)
{
	return node->silent_ms >= planner->in->settings.lost_ms;
}

static void judge_one(struct planner *planner, uint32_t i)
{
	const struct plan_node *node = &planner->in->nodes[i];
	bool silent = is_silent(planner, node);
	planner->judged[i] = node->state;
	if (planner->cut_off || node->state == NODE_DRAINING) {
		if (silent && !planner->cut_off)
			planner->judged[i] = NODE_LOST; // draining stays what is written down
		return;
	}
	planner->judged[i] = silent ? NODE_LOST : NODE_READY;
	if (planner->judged[i] == node->state)
		return;
	struct plan_action *action = planner_act(planner, PLAN_NODE, silent ? PLAN_NODE_LOST : PLAN_NODE_BACK);
	action->node = i;
	action->state = planner->judged[i];
}

static uint32_t dense_zone(struct planner *planner, uint32_t node)
{
	const struct plan_node *nodes = planner->in->nodes;
	for (uint32_t i = 0; i < node; i++)
		if (nodes[i].zone == nodes[node].zone)
			return planner->zone_of[i];
	return planner->zone_count++;
}

static void count_used(struct planner *planner)
{
	const struct plan_input *in = planner->in;
	for (uint32_t i = 0; i < in->placement_count; i++) {
		struct plan_room takes = placement_takes(&in->placements[i]);
		if (!planner->removed[i])
			node_take(planner, in->placements[i].node, &takes);
	}
}

void nodes_judge(struct planner *planner)
{
	const struct plan_input *in = planner->in;
	uint32_t n = in->node_count;
	planner->judged = xcalloc(n, sizeof(*planner->judged));
	planner->used = xcalloc(n, sizeof(*planner->used));
	planner->zone_of = xcalloc(n, sizeof(*planner->zone_of));
	planner->here = xcalloc(n, sizeof(*planner->here));
	planner->in_zone = xcalloc(n, sizeof(*planner->in_zone));
	planner->cut_off = n > 0;
	for (uint32_t i = 0; i < n; i++)
		planner->cut_off = planner->cut_off && is_silent(planner, &in->nodes[i]);
	for (uint32_t i = 0; i < n; i++) {
		judge_one(planner, i);
		planner->zone_of[i] = dense_zone(planner, i);
	}
	count_used(planner);
}

void nodes_free(struct planner *planner)
{
	free(planner->judged);
	free(planner->used);
	free(planner->zone_of);
	free(planner->here);
	free(planner->in_zone);
}

bool node_is_evicting(const struct planner *planner, uint32_t node)
{
	return planner->judged[node] != NODE_READY;
}

void node_count_one(struct planner *planner, uint32_t node, int sign)
{
	planner->here[node] += (uint32_t)sign;
	planner->in_zone[planner->zone_of[node]] += (uint32_t)sign;
}

void nodes_spread(struct planner *planner, uint32_t process, int sign)
{
	for (uint32_t i = planner->first[process]; i < planner->first[process + 1]; i++) {
		const struct plan_placement *placement = &planner->in->placements[planner->order[i]];
		if (placement->want == WANT_RUN)
			node_count_one(planner, placement->node, sign);
	}
}

void node_take(struct planner *planner, uint32_t node, const struct plan_room *takes)
{
	struct plan_room *used = &planner->used[node];
	used->memory_bytes += takes->memory_bytes;
	used->disk_bytes += takes->disk_bytes;
	used->cpu_millis += takes->cpu_millis;
	used->instances++;
}

static uint64_t left_of(uint64_t all, uint64_t used)
{
	return all > used ? all - used : 0;
}

static uint64_t memory_left(const struct planner *planner, uint32_t node)
{
	uint64_t all = planner->in->nodes[node].room.memory_bytes;
	uint64_t promised = all / 100 * planner->in->settings.memory_percent;
	return left_of(promised, planner->used[node].memory_bytes);
}

// What this node says to the wish; true when it has nothing against it. A room of 0 is unknown, thus not a limit,
// except for memory.
static bool accepts(const struct planner *planner, uint32_t i, const struct wish *wish, struct plan_refusal *why)
{
	const struct plan_node *node = &planner->in->nodes[i];
	const struct plan_room *used = &planner->used[i], *room = &node->room;
	const struct plan_settings *settings = &planner->in->settings;
	uint64_t cpu = (uint64_t)room->cpu_millis * settings->cpu_percent / 100;
	const struct {
		enum plan_refusal_reason reason;
		bool refused;
		uint64_t needed, left;
	} questions[] = {
		{ REFUSED_NODE_LOST, planner->judged[i] == NODE_LOST, 0, 0 },
		{ REFUSED_NODE_SILENT, node->silent_ms >= settings->lost_ms, 0, 0 },
		{ REFUSED_NODE_DRAINING, planner->judged[i] == NODE_DRAINING, 0, 0 },
		{ REFUSED_CRASHED_HERE, i == wish->except, 0, 0 },
		{ REFUSED_MEMORY, wish->takes.memory_bytes > memory_left(planner, i), wish->takes.memory_bytes,
		  memory_left(planner, i) },
		{ REFUSED_CPU, settings->cpu_percent && wish->takes.cpu_millis > left_of(cpu, used->cpu_millis),
		  wish->takes.cpu_millis, left_of(cpu, used->cpu_millis) },
		{ REFUSED_DISK,
		  room->disk_bytes && wish->takes.disk_bytes > left_of(room->disk_bytes, used->disk_bytes),
		  wish->takes.disk_bytes, left_of(room->disk_bytes, used->disk_bytes) },
		{ REFUSED_FULL, room->instances && used->instances >= room->instances, 1, 0 },
	};
	for (size_t q = 0; q < ARRAY_LEN(questions); q++) {
		if (!questions[q].refused)
			continue;
		*why = (struct plan_refusal){ i, questions[q].reason, questions[q].needed, questions[q].left };
		return false;
	}
	return true;
}

// Smaller is better, in this order.
struct score {
	uint32_t in_zone, here, full; // full: memory promised, in thousandths
	uint64_t tie;
};

static struct score score_of(const struct planner *planner, uint32_t i, const struct wish *wish)
{
	const struct plan_node *node = &planner->in->nodes[i];
	uint64_t unit = node->room.memory_bytes / 1000 + 1;
	struct rng rng = { planner->in->seed ^ ((uint64_t)wish->process << 32 | wish->index) };
	rng.state ^= rng_next(&rng) + i;
	return (struct score){ .in_zone = planner->in_zone[planner->zone_of[i]],
			       .here = planner->here[i],
			       .full = (uint32_t)(planner->used[i].memory_bytes / unit),
			       .tie = rng_next(&rng) };
}

static bool is_better(const struct score *a, const struct score *b)
{
	if (a->in_zone != b->in_zone)
		return a->in_zone < b->in_zone;
	if (a->here != b->here)
		return a->here < b->here;
	if (a->full != b->full)
		return a->full < b->full;
	return a->tie < b->tie;
}

uint32_t node_choose(const struct planner *planner, const struct wish *wish)
{
	uint32_t best = PLAN_NONE;
	struct score best_score = { 0 };
	for (uint32_t i = 0; i < planner->in->node_count; i++) {
		struct plan_refusal ignored;
		if (!accepts(planner, i, wish, &ignored))
			continue;
		struct score score = score_of(planner, i, wish);
		if (best != PLAN_NONE && !is_better(&score, &best_score))
			continue;
		best = i;
		best_score = score;
	}
	return best;
}

bool node_fits_after(const struct planner *planner, uint32_t node, const struct plan_room *takes,
		     const struct plan_room *given_back)
{
	const struct plan_node *there = &planner->in->nodes[node];
	uint64_t all = there->room.memory_bytes / 100 * planner->in->settings.memory_percent;
	uint64_t used = left_of(planner->used[node].memory_bytes, given_back->memory_bytes);
	uint64_t disk = left_of(planner->used[node].disk_bytes, given_back->disk_bytes);
	return !node_is_evicting(planner, node) && takes->memory_bytes <= left_of(all, used) &&
	       (!there->room.disk_bytes || takes->disk_bytes <= left_of(there->room.disk_bytes, disk));
}

void nodes_refuse(struct planner *planner, const struct wish *wish)
{
	struct plan *out = planner->out;
	if (out->unplaced_count == planner->unplaced_size) {
		planner->unplaced_size = planner->unplaced_size ? planner->unplaced_size * 2 : 16;
		out->unplaced = xreallocarray(out->unplaced, planner->unplaced_size, sizeof(*out->unplaced));
	}
	uint32_t n = planner->in->node_count;
	if (out->refusal_count + n > planner->refusal_size) {
		planner->refusal_size = planner->refusal_size * 2 + n;
		out->refusals = xreallocarray(out->refusals, planner->refusal_size, sizeof(*out->refusals));
	}
	struct plan_unplaced *unplaced = &out->unplaced[out->unplaced_count++];
	*unplaced = (struct plan_unplaced){ .process = wish->process,
					    .index = wish->index,
					    .count = 1,
					    .reason = wish->reason,
					    .first_refusal = out->refusal_count };
	for (uint32_t i = 0; i < n; i++)
		if (!accepts(planner, i, wish, &out->refusals[out->refusal_count]))
			out->refusal_count++;
	unplaced->refusal_count = out->refusal_count - unplaced->first_refusal;
}
