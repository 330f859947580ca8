#include "plan/plan.h"

static const char *const reasons[] = {
	[PLAN_MISSING] = "fewer than wanted",
	[PLAN_RELEASE] = "another release is wanted",
	[PLAN_RESTART] = "an operator asked for a restart",
	[PLAN_REPLACED] = "its replacement is ready",
	[PLAN_SCALED_DOWN] = "more than wanted",
	[PLAN_APP_STOPPED] = "the app was stopped",
	[PLAN_APP_GONE] = "the app was deleted",
	[PLAN_PROCESS_GONE] = "the release has no such process",
	[PLAN_DUPLICATE] = "another instance has this index",
	[PLAN_CRASHED] = "it crashed too often here; tried on another node",
	[PLAN_NODE_LOST] = "the node is silent",
	[PLAN_NODE_BACK] = "the node is heard again",
	[PLAN_NODE_DRAINED] = "the node is being emptied",
	[PLAN_NODE_GONE] = "the node was removed",
	[PLAN_OVER] = "it has stopped",
};

const char *plan_reason_text(enum plan_reason reason)
{
	assert((size_t)reason < ARRAY_LEN(reasons));
	return reasons[reason];
}

static const char *const refusals[] = {
	[REFUSED_NODE_LOST] = "the node is lost",
	[REFUSED_NODE_SILENT] = "the node has not been heard for a while",
	[REFUSED_NODE_DRAINING] = "the node is being emptied",
	[REFUSED_MEMORY] = "not enough memory",
	[REFUSED_CPU] = "not enough cpu",
	[REFUSED_DISK] = "not enough disk",
	[REFUSED_FULL] = "the node has as many instances as it may have",
	[REFUSED_CRASHED_HERE] = "it crashed there",
};

const char *plan_refusal_text(enum plan_refusal_reason reason)
{
	assert((size_t)reason < ARRAY_LEN(refusals));
	return refusals[reason];
}
