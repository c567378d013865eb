/* CLOCK_MONOTONIC in nanoseconds, at less than half the price where the kernel tells the time by
 * the processor's counter of ticks: that is read here too, but without the fence and the locks
 * that clock_gettime needs. How long a tick lasts is measured against clock_gettime, and again
 * each SPAN, so that the two never part by more than a fraction of a microsecond. Where the
 * kernel trusts another clock, or the measurements do not agree, clock_gettime is asked.
 *
 * All of this is for holders of the GIL.
 */

#ifndef TACH_CLOCK_H
#define TACH_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t
read_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

#if defined(__x86_64__) && defined(__linux__)

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <x86intrin.h>

enum {
    SPAN = 5000000,    /* nanoseconds until a tick is measured again */
    SHORTEST = 1000000, /* in less it cannot be measured well */
    NARROW = 1000,      /* ticks; whoever needs more to read a clock was interrupted */
};

/* An instant as both clocks tell it, and what followed from the one before. */
static struct {
    uint64_t ticks;
    uint64_t ns;
    uint64_t tick;  /* in nanoseconds / 2**32; 0 until it has been measured */
    uint64_t valid; /* for so many ticks it may be relied on; 0 until two measurements agree */
} instant;

static bool ticks_tell_time;

/* Whether the kernel itself relies on the counter, and lets the process read it. */
static bool
kernel_reads_ticks(void)
{
    int allowed = 0;
    if (prctl(PR_GET_TSC, &allowed) != 0 || allowed != PR_TSC_ENABLE) {
        return false;
    }
    char name[8] = "";
    int file = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                    O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    ssize_t length = read(file, name, sizeof name);
    close(file);
    return length == 4 && memcmp(name, "tsc\n", 4) == 0;
}

static void
clock_init(void)
{
    ticks_tell_time = kernel_reads_ticks();
}

static inline uint64_t
in_ns(uint64_t ticks)
{
    return ticks * instant.tick >> 32;
}

/* Begin anew at this instant, which follows the one before by what can tell the length of a tick. */
static void
take_instant(uint64_t ticks, uint64_t ns)
{
    const double of_tick = (double)(ns - instant.ns) / (double)(ticks - instant.ticks);
    const uint64_t tick = (uint64_t)(of_tick * 4294967296.0), old = instant.tick;
    const bool agrees = (tick > old ? tick - old : old - tick) <= old >> 10;
    instant.ticks = ticks;
    instant.ns = ns;
    instant.tick = tick;
    instant.valid = agrees ? (uint64_t)(SPAN / of_tick) : 0;
}

/* The time as clock_gettime tells it, and from it the length of a tick if that can be said. */
static __attribute__((noinline)) uint64_t
measure_tick(void)
{
    if (!ticks_tell_time) {
        return read_clock();
    }
    const uint64_t before = __rdtsc();
    const uint64_t ns = read_clock();
    const uint64_t took = __rdtsc() - before, ticks = before + took / 2;
    const bool set_back = ticks <= instant.ticks;
    const uint64_t told = set_back ? 0 : instant.ns + in_ns(instant.valid); /* at the utmost */
    if (took > NARROW || ns < told || ns < instant.ns + SHORTEST) {
        return ns > told ? ns : told;
    }
    if (set_back) {
        memset(&instant, 0, sizeof instant);
        instant.ticks = ticks;
        instant.ns = ns;
    }
    else {
        take_instant(ticks, ns);
    }
    return ns;
}

static inline uint64_t
now(void)
{
    const uint64_t passed = __rdtsc() - instant.ticks;
    if (__builtin_expect(passed < instant.valid, 1)) {
        return instant.ns + in_ns(passed);
    }
    return measure_tick();
}

#else

static void
clock_init(void)
{
}

static inline uint64_t
now(void)
{
    return read_clock();
}

#endif

/* The nanoseconds from one reading to another; a processor may be ahead of another by some. */
static inline uint64_t
between(uint64_t start, uint64_t end)
{
    return end > start ? end - start : 0;
}

static inline uint64_t
since(uint64_t start)
{
    return between(start, now());
}

#endif
