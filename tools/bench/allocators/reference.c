/* What the emulator's allocators are measured against: the same algorithms, plainly, in C.
 *
 *     reference buddy PAGES PERCENT COUNT    frees and allocates COUNT buffers of the system heap
 *     reference cma PAGES PERCENT SECONDS    the same with a CMA area whose bitmap is one byte a page, for so long
 *
 * Memory is filled to PERCENT first. Prints operations, CPU seconds and a checksum of where everything lies, which tells
 * that another program did the same work. Random numbers are an xorshift's, so that it can.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ORDERS = 11, SIZE_PAGES_MAX = 1 << 14, BUFFERS_MAX = 1 << 17, AGEING = 60000, MISSES_MAX = 64 };
static const uint32_t NONE = UINT32_MAX;

static uint64_t state = 88172645463325252ull;

static uint64_t drawn(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* 1 to 16384 pages: each doubling is as likely as another. */
static uint32_t drawn_pages(void)
{
	uint64_t number = drawn();
	uint32_t low = 1u << number % 14;

	return low + (number >> 32) % low;
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec * 1e-9;
}

static void *room(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory) {
		fputs("no memory\n", stderr);
		exit(1);
	}
	return memory;
}

/* --- binary buddies: free blocks of each order in a doubly linked list, newest first ------------------------------ */

static uint32_t count_pages, free_pages, head[ORDERS], counts[ORDERS], *following, *previous;
static uint8_t *free_order; /* order + 1 of the free block that begins at a page */

static void push(uint32_t page, int order)
{
	uint32_t first = head[order];

	following[page] = first;
	previous[page] = NONE;
	if (first != NONE)
		previous[first] = page;
	head[order] = page;
	free_order[page] = order + 1;
	counts[order]++;
}

static void unlink_block(uint32_t page, int order)
{
	uint32_t after = following[page], before = previous[page];

	if (before != NONE)
		following[before] = after;
	else
		head[order] = after;
	if (after != NONE)
		previous[after] = before;
	free_order[page] = 0;
	counts[order]--;
}

static uint32_t take(int order)
{
	int found = order;
	uint32_t page;

	while (found < ORDERS && head[found] == NONE)
		found++;
	if (found == ORDERS)
		return NONE;
	page = head[found];
	unlink_block(page, found);
	while (found > order) {
		found--;
		push(page + (1u << found), found);
	}
	free_pages -= 1u << order;
	return page;
}

static void give_back(uint32_t page, int order)
{
	free_pages += 1u << order;
	while (order < ORDERS - 1) {
		uint32_t buddy = page ^ 1u << order;

		if (buddy >= count_pages || free_order[buddy] != order + 1)
			break;
		unlink_block(buddy, order);
		page &= buddy;
		order++;
	}
	push(page, order);
}

struct buffer {
	uint32_t blocks, room, *pages; /* each page << 4 | order */
};

static void free_buffer(struct buffer *buffer)
{
	for (uint32_t index = 0; index < buffer->blocks; index++)
		give_back(buffer->pages[index] >> 4, buffer->pages[index] & 15);
	buffer->blocks = 0;
}

/* The system heap: orders 8, 4 and 0, never larger than the one before. */
static int allocate_buffer(struct buffer *buffer, uint32_t pages)
{
	static const int orders[] = { 8, 4, 0 };
	int tried = 0;

	buffer->blocks = 0;
	if (pages > free_pages)
		return 0;
	while (pages && tried < 3) {
		int order = orders[tried];
		uint32_t page = 1u << order <= pages ? take(order) : NONE;

		if (page == NONE) {
			tried++;
			continue;
		}
		if (buffer->blocks == buffer->room) {
			buffer->room = buffer->room ? buffer->room * 2 : 8;
			buffer->pages = realloc(buffer->pages, buffer->room * sizeof *buffer->pages);
		}
		buffer->pages[buffer->blocks++] = page << 4 | order;
		pages -= 1u << order;
	}
	if (pages)
		free_buffer(buffer);
	return !pages;
}

/* One step: allocate what was drawn where that leaves memory no fuller than it may be, else free one at random. */
static void step(struct buffer *buffers, uint32_t *live, uint32_t most_used)
{
	uint32_t pages = drawn_pages();
	struct buffer last;

	if (count_pages - free_pages + pages <= most_used && *live < BUFFERS_MAX) {
		*live += allocate_buffer(&buffers[*live], pages);
		return;
	}
	pages = drawn() % *live;
	free_buffer(&buffers[pages]);
	last = buffers[--*live];
	buffers[*live] = buffers[pages];
	buffers[pages] = last;
}

static void bench_buddy(double percent, uint32_t count)
{
	struct buffer *buffers = room(BUFFERS_MAX, sizeof *buffers);
	uint32_t live = 0, most = count_pages * (percent / 100);
	uint64_t checksum = 0;
	double began, took;

	following = room(count_pages, sizeof *following);
	previous = room(count_pages, sizeof *previous);
	free_order = room(count_pages, 1);
	memset(head, 0xff, sizeof head);
	for (uint32_t page = count_pages; page; page -= 1024)
		push(page - 1024, ORDERS - 1);
	free_pages = count_pages;
	for (int turn = 0; turn < AGEING; turn++)
		step(buffers, &live, most);
	began = cpu_seconds();
	for (uint32_t turn = 0; turn < count; turn++)
		step(buffers, &live, most);
	took = cpu_seconds() - began;
	for (int order = 0; order < ORDERS; order++)
		checksum = checksum * 31 + counts[order];
	for (uint32_t index = 0; index < live; index++)
		for (uint32_t block = 0; block < buffers[index].blocks; block++)
			checksum = checksum * 31 + buffers[index].pages[block];
	printf("%u %.9f %llu %.1f\n", count, took, (unsigned long long)checksum,
	       100.0 * (count_pages - free_pages) / count_pages);
}

/* --- a CMA area: one byte a page, looked at one by one ------------------------------------------------------------ */

static uint8_t *used;

static uint32_t first_fit(uint32_t pages, uint32_t alignment)
{
	uint32_t start = 0, end;

	for (;;) {
		while (start < count_pages && used[start])
			start++;
		start = (start + alignment - 1) & -alignment;
		if (start + pages > count_pages)
			return NONE;
		for (end = start; end < start + pages && !used[end]; end++)
			;
		if (end == start + pages)
			return start;
		start = end + 1;
	}
}

static uint32_t take_run(uint32_t pages)
{
	uint32_t alignment = 1, start;

	while (alignment < pages && alignment < 256) /* CONFIG_CMA_ALIGNMENT */
		alignment <<= 1;
	start = first_fit(pages, alignment);
	if (start != NONE) {
		memset(used + start, 1, pages);
		free_pages -= pages;
	}
	return start;
}

static void bench_cma(double percent, double seconds)
{
	uint32_t *starts = room(BUFFERS_MAX, sizeof *starts), *sizes = room(BUFFERS_MAX, sizeof *sizes);
	uint32_t live = 0, misses = 0, wanted = count_pages * (percent / 100), most = count_pages * ((percent + 1) / 100);
	uint64_t count = 0;
	double began, took;

	used = room(count_pages, 1);
	free_pages = count_pages;
	while (count_pages - free_pages < wanted && live < BUFFERS_MAX && misses < MISSES_MAX) {
		sizes[live] = drawn_pages();
		starts[live] = take_run(sizes[live]);
		if (starts[live] == NONE)
			misses++;
		else
			live++;
	}
	began = cpu_seconds();
	do {
		uint32_t index = drawn() % live, pages = drawn_pages();

		if (sizes[index]) {
			memset(used + starts[index], 0, sizes[index]);
			free_pages += sizes[index];
			sizes[index] = 0;
		}
		if (count_pages - free_pages + pages <= most) {
			starts[index] = take_run(pages);
			sizes[index] = starts[index] == NONE ? 0 : pages;
		}
		took = cpu_seconds() - began;
	} while (++count % 64 || took < seconds);
	printf("%llu %.9f 0 %.1f\n", (unsigned long long)count, took, 100.0 * (count_pages - free_pages) / count_pages);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	count_pages = strtoul(argv[2], NULL, 10);
	if (!strcmp(argv[1], "buddy"))
		bench_buddy(atof(argv[3]), strtoul(argv[4], NULL, 10));
	else
		bench_cma(atof(argv[3]), atof(argv[4]));
	return 0;
}
