/* What greenlets have been switched out for while something measured ran in them.
 *
 * Nothing is stored in a greenlet, nor is it held. All of this is for holders of the GIL.
 */

#ifndef TACH_SWITCHES_H
#define TACH_SWITCHES_H

#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "_clock.h"

typedef struct Watching Watching;

/* What has happened to one greenlet since a measured call in it began; nanoseconds. */
typedef struct Switches {
    struct Switches *next; /* in its bucket */
    const void *greenlet;  /* only compared; NULL where it is in no bucket */
    Watching *stretches;   /* those that want to know of stretches */
    size_t users;
    size_t watches;   /* what runs in it: calls, steps of calls */
    uint64_t out;     /* how long it has been switched out, in all */
    uint64_t pauses;  /* how often it was */
    uint64_t resumed; /* when it last came back */
    uint64_t cpu;     /* what its thread has used while it was out */
    bool with_cpu;
} Switches;

/* A call, or a step of one, from its begin on in the greenlet in which it runs. After its end: how
 * long that was out meanwhile, how often, what its thread has used while it was, and the longest
 * stretch in between.
 */
struct Watching {
    Switches *switches;       /* NULL when it is over */
    Watching *before, *after; /* in the list of those that want to know of stretches */
    uint64_t out, pauses, cpu, began, longest;
};

#define BUCKETS 4096

/* Greenlets in which something is watched, by address. That is another one's only when this one is
 * gone, and with it what ran in it. */
static Switches *buckets[BUCKETS];
static size_t watched;

static inline uint64_t
thread_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline uint64_t
greater(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
}

static inline uint64_t
less(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

static inline Switches **
bucket_of(const void *greenlet)
{
    return &buckets[((uintptr_t)greenlet >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 52];
}

static inline Switches *
find_switches(const void *greenlet)
{
    Switches *found = *bucket_of(greenlet);
    while (found != NULL && found->greenlet != greenlet) {
        found = found->next;
    }
    return found;
}

/* NULL, without an exception, where there is no memory for it. */
static Switches *
add_switches(const void *greenlet)
{
    Switches *switches = PyMem_Calloc(1, sizeof(Switches));
    if (switches == NULL) {
        return NULL;
    }
    Switches **bucket = bucket_of(greenlet);
    switches->greenlet = greenlet;
    switches->next = *bucket;
    *bucket = switches;
    watched++;
    return switches;
}

static void
unlist(Switches *switches)
{
    if (switches->greenlet == NULL) {
        return;
    }
    Switches **place = bucket_of(switches->greenlet);
    while (*place != switches) {
        place = &(*place)->next;
    }
    *place = switches->next;
    switches->greenlet = NULL;
    watched--;
}

static void
unlist_all(void)
{
    for (size_t place = 0; place < BUCKETS; place++) {
        while (buckets[place] != NULL) {
            unlist(buckets[place]);
        }
    }
}

static void
drop_switches(Switches *switches)
{
    if (--switches->users == 0) {
        PyMem_Free(switches);
    }
}

/* A stretch that has lasted until `end` is over. */
static inline void
end_stretch(Watching *watching, uint64_t end)
{
    uint64_t began = greater(watching->began, watching->switches->resumed);
    watching->longest = greater(watching->longest, between(began, end));
}

/* Watch what runs in the greenlet from `at` on. False where there is no memory for it. */
static bool
watching_begin(Watching *watching, const void *greenlet, bool cpu, bool stretches, uint64_t at)
{
    memset(watching, 0, sizeof *watching);
    Switches *switches = find_switches(greenlet);
    if (switches == NULL && (switches = add_switches(greenlet)) == NULL) {
        return false;
    }
    watching->switches = switches;
    watching->out = switches->out;
    watching->pauses = switches->pauses;
    watching->cpu = switches->cpu;
    switches->users++;
    switches->watches++;
    switches->with_cpu |= cpu;
    if (stretches) {
        watching->began = at;
        watching->after = switches->stretches;
        if (watching->after != NULL) {
            watching->after->before = watching;
        }
        switches->stretches = watching;
    }
    return true;
}

/* It is over at `at`: its numbers can be read. */
static void
watching_end(Watching *watching, uint64_t at)
{
    Switches *switches = watching->switches;
    if (switches == NULL) {
        return;
    }
    watching->out = switches->out - watching->out;
    watching->pauses = switches->pauses - watching->pauses;
    watching->cpu = switches->cpu - watching->cpu;
    if (watching->began != 0) {
        end_stretch(watching, at);
        Watching **place =
            watching->before != NULL ? &watching->before->after : &switches->stretches;
        *place = watching->after;
        if (watching->after != NULL) {
            watching->after->before = watching->before;
        }
    }
    watching->switches = NULL;
    if (--switches->watches == 0) {
        unlist(switches);
    }
    drop_switches(switches);
}

#endif
