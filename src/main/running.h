// What runs on without the platform, and who keeps its output.
#pragma once

unsigned running_count(const char *data); // containers that live

// " 3 instances run on …" for the end of a line: who keeps their output, what takes them over, what ends them; "" when
// none does. Heap.
char *running_text(const char *data);

// " --data DIR" when that is not the default; else "". Heap.
char *running_data_option(const char *data);
