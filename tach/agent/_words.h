/* Words of a segment: each is read and stored at once, and written by this process alone. */

#ifndef TACH_WORDS_H
#define TACH_WORDS_H

#include <stdint.h>

static inline uint64_t
load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void
store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void
add(uint64_t *word, uint64_t amount)
{
    store(word, load(word) + amount);
}

#endif
