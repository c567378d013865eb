/* What tach/pure_buckets.py does, at a twentieth of the cost.
 *
 * Buckets come as bytes: ascending pairs of 64-bit words, (number of the bucket, its count). Of a
 * segment, which its process may be writing to, each word is read once: a word is never torn.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "_layout.h"

#define LAST_BUCKET ((uint64_t)(BLOCKS * LANES - 1))
#define FIRST_BUCKET ((uint64_t)(LOWEST_BLOCK * LANES))
/* what shows that a series has changed: from the sum to the calls that run now */
#define CHANGING (E_ACTIVE - E_SUM + 1)

typedef struct {
    uint64_t bucket, count;
} Pair;

/* --- Buckets --- */

/* The pairs in `bytes`, and in `*length` how many; NULL with an exception set if it has none. */
static const Pair *
pairs_of(PyObject *bytes, Py_ssize_t *length)
{
    if (!PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) % sizeof(Pair)) {
        PyErr_SetString(PyExc_TypeError, "buckets must be bytes, 16 for each");
        return NULL;
    }
    *length = PyBytes_GET_SIZE(bytes) / (Py_ssize_t)sizeof(Pair);
    return (const Pair *)PyBytes_AS_STRING(bytes);
}

/* Blocks of counts that are added up; those that no bit of `used` stands for hold nothing yet. */
typedef struct {
    uint64_t used;
    uint64_t lanes[BLOCKS][LANES];
} Sum;

static uint64_t *
block_of(Sum *sum, unsigned block)
{
    uint64_t bit = (uint64_t)1 << block;
    if (!(sum->used & bit)) {
        sum->used |= bit;
        memset(sum->lanes[block], 0, sizeof sum->lanes[block]);
    }
    return sum->lanes[block];
}

/* The pairs of the blocks that are used, and of the others those that `rest` has. */
static PyObject *
pairs_from(const Sum *sum, const Pair *rest, Py_ssize_t rest_length)
{
    Py_ssize_t length = rest_length;
    for (uint64_t used = sum->used; used; used &= used - 1) {
        const uint64_t *lanes = sum->lanes[__builtin_ctzll(used)];
        for (unsigned lane = 0; lane < LANES; lane++) {
            length += lanes[lane] != 0;
        }
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, length * (Py_ssize_t)sizeof(Pair));
    if (bytes == NULL || length == 0) {
        return bytes;
    }
    Pair *first = (Pair *)PyBytes_AS_STRING(bytes), *pair = first;
    const Pair *end = rest + rest_length;
    for (uint64_t used = sum->used; used; used &= used - 1) {
        unsigned block = (unsigned)__builtin_ctzll(used);
        for (; rest < end && rest->bucket < block * LANES; rest++) {
            *pair++ = *rest;
        }
        for (; rest < end && rest->bucket < (block + 1) * LANES; rest++) {
        }
        for (unsigned lane = 0; lane < LANES; lane++) {
            if (sum->lanes[block][lane]) {
                *pair++ = (Pair){block * LANES + lane, sum->lanes[block][lane]};
            }
        }
    }
    for (; rest < end; rest++) {
        *pair++ = *rest;
    }
    _PyBytes_Resize(&bytes, (pair - first) * (Py_ssize_t)sizeof(Pair));
    return bytes;
}

/* Whether the pairs in `bytes` could be added; an exception is set if not. */
static bool
add_pairs(Sum *sum, PyObject *bytes)
{
    Py_ssize_t length;
    const Pair *pair = pairs_of(bytes, &length);
    if (pair == NULL) {
        return false;
    }
    for (; length--; pair++) {
        if (pair->bucket > LAST_BUCKET) {
            PyErr_SetString(PyExc_ValueError, "there is no such bucket");
            return false;
        }
        block_of(sum, (unsigned)(pair->bucket / LANES))[pair->bucket % LANES] += pair->count;
    }
    return true;
}

static PyObject *
added(PyObject *Py_UNUSED(module), PyObject *several)
{
    Sum sum; /* but for the lanes, which are cleared when they are used */
    sum.used = 0;
    PyObject *items = PySequence_Fast(several, "several buckets are a sequence");
    if (items == NULL) {
        return NULL;
    }
    bool good = true;
    for (Py_ssize_t place = 0; good && place < PySequence_Fast_GET_SIZE(items); place++) {
        good = add_pairs(&sum, PySequence_Fast_GET_ITEM(items, place));
    }
    Py_DECREF(items);
    return good ? pairs_from(&sum, NULL, 0) : NULL;
}

static PyObject *
difference(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Py_ssize_t length, before_length;
    const Pair *now, *before;
    if (nargs != 2) {
        return PyErr_Format(PyExc_TypeError, "difference(now, before)");
    }
    if ((now = pairs_of(args[0], &length)) == NULL ||
        (before = pairs_of(args[1], &before_length)) == NULL) {
        return NULL;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, length * (Py_ssize_t)sizeof(Pair));
    if (bytes == NULL || length == 0) {
        return bytes;
    }
    Pair *first = (Pair *)PyBytes_AS_STRING(bytes), *pair = first;
    const Pair *end = now + length, *before_end = before + before_length;
    for (; now < end; now++) {
        while (before < before_end && before->bucket < now->bucket) {
            before++;
        }
        uint64_t earlier =
            before < before_end && before->bucket == now->bucket ? before->count : 0;
        if (now->count > earlier) {
            *pair++ = (Pair){now->bucket, now->count - earlier};
        }
    }
    _PyBytes_Resize(&bytes, (pair - first) * (Py_ssize_t)sizeof(Pair));
    return bytes;
}

static uint64_t
count_of(const Pair *pair, Py_ssize_t length)
{
    uint64_t count = 0;
    for (; length--; pair++) {
        count += pair->count;
    }
    return count;
}

static PyObject *
count(PyObject *Py_UNUSED(module), PyObject *buckets)
{
    Py_ssize_t length;
    const Pair *pair = pairs_of(buckets, &length);
    return pair == NULL ? NULL : PyLong_FromUnsignedLongLong(count_of(pair, length));
}

#define FAR ((long long)1 << 62)
#define EXACT ((uint64_t)1 << 53) /* whole numbers up to here are doubles */

/* On the way from the least quantile to the greatest. */
typedef struct {
    const Pair *pair, *last;
    uint64_t all, below;
    int64_t least, greatest, low, high;
    bool known;
    double units;
} Walk;

/* The least and the greatest value that the bucket may hold. */
static void
find_bounds(Walk *walk)
{
    uint64_t bucket = walk->pair->bucket;
    unsigned block = (unsigned)(bucket / LANES), lane = bucket % LANES;
    walk->low = walk->high = lane;
    if (block > LOWEST_BLOCK) {
        int64_t width = (int64_t)1 << (block - 8);
        walk->low = (LANES + lane) * width;
        walk->high = walk->low + width - 1;
    }
    if (walk->known && (bucket == LAST_BUCKET || walk->greatest < walk->high)) {
        walk->high = walk->greatest;
    }
    if ((bucket == FIRST_BUCKET && walk->least < 0) || walk->low < walk->least) {
        walk->low = walk->least;
    }
    if (walk->low > walk->high) {
        walk->low = walk->high;
    }
}

/* Whether it could begin; an exception is set if not. `highest` is the greatest of all, or None. */
static bool
begin_walk(Walk *walk, PyObject *buckets, PyObject *lowest, PyObject *highest, PyObject *units)
{
    Py_ssize_t length;
    *walk = (Walk){.pair = pairs_of(buckets, &length), .known = highest != Py_None};
    if (walk->pair == NULL) {
        return false;
    }
    walk->units = PyFloat_AsDouble(units);
    walk->least = PyLong_AsLongLong(lowest);
    walk->greatest = walk->known ? PyLong_AsLongLong(highest) : 0;
    if (PyErr_Occurred()) {
        return false;
    }
    walk->all = count_of(walk->pair, length);
    if (walk->least <= -FAR || walk->least >= FAR || walk->greatest <= -FAR ||
        walk->greatest >= FAR || walk->all > EXACT) {
        PyErr_SetString(PyExc_OverflowError, "beyond what is exact here");
        return false;
    }
    walk->last = walk->pair + length - 1;
    if (length) {
        find_bounds(walk);
    }
    return true;
}

/* The quantile at a fraction that is not less than the last one. */
static double
quantile(Walk *walk, double fraction)
{
    if (walk->all == 0) {
        return 0.0;
    }
    double all = (double)walk->all, rank = fraction * all;
    rank = rank > 0.0 ? rank : 0.0;
    rank = rank < all ? rank : all;
    while (walk->pair < walk->last && (double)(walk->below + walk->pair->count) < rank) {
        walk->below += walk->pair->count;
        walk->pair++;
        find_bounds(walk);
    }
    double width = (double)(walk->high - walk->low), within = rank - (double)walk->below;
    return ((double)walk->low + width * within / (double)walk->pair->count) / walk->units;
}

static PyObject *
quantiles(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Walk walk;
    if (nargs != 5 || !PyTuple_Check(args[4])) {
        return PyErr_Format(PyExc_TypeError, "quantiles(buckets, low, high, units, fractions)");
    }
    if (!begin_walk(&walk, args[0], args[1], args[2], args[3])) {
        return NULL;
    }
    PyObject *found = PyList_New(PyTuple_GET_SIZE(args[4]));
    for (Py_ssize_t place = 0; found != NULL && place < PyList_GET_SIZE(found); place++) {
        double fraction = PyFloat_AsDouble(PyTuple_GET_ITEM(args[4], place));
        PyObject *value = PyErr_Occurred() ? NULL : PyFloat_FromDouble(quantile(&walk, fraction));
        if (value == NULL) {
            Py_CLEAR(found);
            break;
        }
        PyList_SET_ITEM(found, place, value);
    }
    return found;
}

/* Text that grows. */
typedef struct {
    char *bytes;
    size_t length, room;
} Text;

static bool
append(Text *text, const char *bytes, size_t length)
{
    if (text->room - text->length < length) {
        size_t room = 2 * (text->room + length);
        char *larger = PyMem_Realloc(text->bytes, room);
        if (larger == NULL) {
            PyErr_NoMemory();
            return false;
        }
        text->bytes = larger;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    return true;
}

static bool
append_string(Text *text, PyObject *string)
{
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(string, &length);
    return bytes != NULL && append(text, bytes, (size_t)length);
}

/* A number not below 0 with six decimals, as Python's %.6f has it. */
static bool
append_number(Text *text, double value)
{
    double millionths = value * 1e6;
    uint64_t whole = millionths < 1e12 ? (uint64_t)millionths : 0;
    double rest = millionths - (double)whole;
    if (millionths >= 1e12 || (rest > 0.499 && rest < 0.501)) {
        /* where the error of the multiplication might decide how it is rounded */
        char *slowly = PyOS_double_to_string(value, 'f', 6, 0, NULL);
        bool good = slowly != NULL && append(text, slowly, strlen(slowly));
        PyMem_Free(slowly);
        return good;
    }
    char digits[24], *at = digits + sizeof digits;
    whole += rest > 0.5;
    for (int place = 0; place < 7 || whole; place++) {
        if (place == 6) {
            *--at = '.';
        }
        *--at = (char)('0' + whole % 10);
        whole /= 10;
    }
    return append(text, at, (size_t)(digits + sizeof digits - at));
}

static PyObject *
lines(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Walk walk;
    Text text = {0};
    if (nargs != 7 || !PyTuple_Check(args[4]) || !PyTuple_Check(args[6]) ||
        PyTuple_GET_SIZE(args[4]) != PyTuple_GET_SIZE(args[6])) {
        return PyErr_Format(PyExc_TypeError,
                            "lines(buckets, low, high, units, fractions, before, after)");
    }
    if (!begin_walk(&walk, args[0], args[1], args[2], args[3])) {
        return NULL;
    }
    bool good = true;
    for (Py_ssize_t place = 0; good && place < PyTuple_GET_SIZE(args[4]); place++) {
        double fraction = PyFloat_AsDouble(PyTuple_GET_ITEM(args[4], place));
        double value = quantile(&walk, fraction);
        good = !PyErr_Occurred() && (place == 0 || append(&text, "\n", 1)) &&
               append_string(&text, args[5]) && append_number(&text, value > 0.0 ? value : 0.0) &&
               append_string(&text, PyTuple_GET_ITEM(args[6], place));
    }
    PyObject *string =
        good ? PyUnicode_DecodeUTF8(text.bytes, (Py_ssize_t)text.length, "strict") : NULL;
    PyMem_Free(text.bytes);
    return string;
}

/* --- Segments --- */

static uint64_t
word(const uint64_t *cell, unsigned index)
{
    return __atomic_load_n(cell + index, __ATOMIC_RELAXED);
}

/* The cell at that offset; NULL if the segment ends before, or there can be none. */
static uint64_t *
cell_at(const Py_buffer *segment, uint64_t offset)
{
    uint64_t length = (uint64_t)segment->len;
    if (offset % sizeof(uint64_t) || length < CELL_BYTES || offset > length - CELL_BYTES) {
        return NULL;
    }
    return (uint64_t *)((char *)segment->buf + offset);
}

static PyObject *
no_cell(uint64_t offset)
{
    return PyErr_Format(PyExc_IndexError, "there is no cell at offset %llu",
                        (unsigned long long)offset);
}

/* Which blocks may count more than before, a bit each; bit 0: the entry has changed. The calls that
 * ended since then took `more` together, and each of them the least of all, `low`, or longer: where
 * two would have taken longer there was only one. */
static uint64_t
blocks_of(uint64_t more, uint64_t low)
{
    unsigned block = LOWEST_BLOCK;
    while (block < BLOCKS - 1 && more >> block) {
        block++;
    }
    if (more == 0 && low > 0) {
        return 1;
    }
    if (more < low || more - low < low) {
        return 1 | (uint64_t)1 << block;
    }
    return 1 | (((uint64_t)2 << block) - ((uint64_t)1 << LOWEST_BLOCK));
}

static PyObject *
changed(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer segment, offsets, owners, seen, news;
    if (!PyArg_ParseTuple(args, "w*y*y*w*w*:changed", &segment, &offsets, &owners, &seen, &news)) {
        return NULL;
    }
    PyObject *peaks = PyList_New(0);
    const Py_ssize_t size = sizeof(uint64_t), entries = offsets.len / size;
    const uint64_t *offset = offsets.buf, *owner = owners.buf;
    uint64_t *known = seen.buf, *marks = news.buf;
    bool good = peaks != NULL;
    if (good && (owners.len < offsets.len || seen.len < offsets.len * CHANGING)) {
        PyErr_SetString(PyExc_ValueError, "there is no room for all entries");
        good = false;
    }
    for (Py_ssize_t entry = 0; good && entry < entries; entry++, known += CHANGING) {
        uint64_t *cell = cell_at(&segment, offset[entry]);
        if (cell == NULL) {
            no_cell(offset[entry]);
            good = false;
            break;
        }
        uint64_t now[CHANGING];
        now[0] = __atomic_load_n(cell + E_SUM, __ATOMIC_ACQUIRE); /* the rest is as new, or newer */
        memcpy(now + 1, cell + E_SUM + 1, sizeof now - sizeof now[0]);
        if (now[E_ACTIVE - E_SUM] == 0 && memcmp(now, known, sizeof now) == 0) {
            continue;
        }
        if (owner[entry] < (uint64_t)(news.len / size)) {
            marks[owner[entry]] |= blocks_of(now[0] - known[0], now[E_MIN - E_SUM]);
        }
        memcpy(known, now, sizeof now);
        uint64_t peak = word(cell, E_PEAK);
        if (peak) {
            PyObject *item = Py_BuildValue("nK", entry, (unsigned long long)peak);
            good = item != NULL && PyList_Append(peaks, item) == 0;
            Py_XDECREF(item);
            __atomic_store_n(cell + E_PEAK, word(cell, E_ACTIVE), __ATOMIC_RELAXED);
        }
    }
    if (!good) {
        Py_CLEAR(peaks);
    }
    PyBuffer_Release(&segment);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&owners);
    PyBuffer_Release(&seen);
    PyBuffer_Release(&news);
    return peaks;
}

/* What entries hold together; of their buckets those in `blocks`, a bit each. */
typedef struct {
    uint64_t blocks, total, low, high, errors, cancelled, ignored;
    bool any;
    Sum sum;
} Added;

static void
add_entry(Added *to, const Py_buffer *segment, const uint64_t *cell)
{
    for (uint64_t rest = to->blocks; rest; rest &= rest - 1) {
        unsigned block = (unsigned)__builtin_ctzll(rest);
        uint64_t offset = word(cell, E_BLOCKS + block);
        const uint64_t *from = offset ? cell_at(segment, offset) : NULL;
        if (from != NULL) {
            uint64_t *lanes = block_of(&to->sum, block);
            for (unsigned lane = 0; lane < LANES; lane++) {
                lanes[lane] += from[lane];
            }
        }
    }
    uint64_t low = word(cell, E_MIN), high = word(cell, E_MAX);
    to->total += word(cell, E_SUM);
    to->errors += word(cell, E_ERRORS);
    to->cancelled += word(cell, E_CANCELLED);
    to->ignored += word(cell, E_IGNORED);
    if (low != UINT64_MAX) { /* something has been counted */
        to->low = low < to->low ? low : to->low;
        to->high = high > to->high ? high : to->high;
        to->any = true;
    }
}

/* Have it on the way into the cache: most of the time goes into waiting for memory. */
static void
prefetch_blocks(const Py_buffer *segment, const uint64_t *cell, uint64_t blocks)
{
    for (; blocks; blocks &= blocks - 1) {
        uint64_t offset = word(cell, E_BLOCKS + (unsigned)__builtin_ctzll(blocks));
        const char *block = offset ? (const char *)cell_at(segment, offset) : NULL;
        for (int line = 0; block != NULL && line < CELL_BYTES; line += 64) {
            __builtin_prefetch(block + line);
        }
    }
}

/* Entries, and the segments they are in, which are held. */
typedef struct {
    Py_ssize_t length;
    Py_buffer *segments;
    const uint64_t **cells;
} Entries;

static void
let_go(Entries *entries)
{
    while (entries->length) {
        PyBuffer_Release(&entries->segments[--entries->length]);
    }
    PyMem_Free(entries->segments);
    PyMem_Free(entries->cells);
}

/* Take hold of the entries that `places` names as pairs of words: the number of the segment, and the
 * offset in it. False with an exception set if there is one that is not there. */
static bool
hold(Entries *entries, PyObject *segments, PyObject *places)
{
    Py_buffer pairs;
    *entries = (Entries){0};
    if (!PyList_Check(segments)) {
        PyErr_SetString(PyExc_TypeError, "segments are a list");
        return false;
    }
    if (PyObject_GetBuffer(places, &pairs, PyBUF_SIMPLE) < 0) {
        return false;
    }
    Py_ssize_t wanted = pairs.len / (Py_ssize_t)sizeof(Pair);
    const uint64_t *pair = pairs.buf;
    entries->segments = PyMem_Malloc((size_t)wanted * sizeof *entries->segments);
    entries->cells = PyMem_Malloc((size_t)wanted * sizeof *entries->cells);
    bool good = entries->segments != NULL && entries->cells != NULL;
    if (!good) {
        PyErr_NoMemory();
    }
    for (Py_ssize_t place = 0; good && place < wanted; place++, pair += 2) {
        Py_buffer *segment = &entries->segments[place];
        good = false;
        if (pair[0] >= (uint64_t)PyList_GET_SIZE(segments)) {
            PyErr_SetString(PyExc_IndexError, "there is no such segment");
        }
        else if (PyObject_GetBuffer(PyList_GET_ITEM(segments, (Py_ssize_t)pair[0]), segment,
                                    PyBUF_SIMPLE) == 0) {
            entries->length++;
            entries->cells[place] = cell_at(segment, pair[1]);
            if (entries->cells[place] == NULL) {
                no_cell(pair[1]);
            }
            else {
                __builtin_prefetch(entries->cells[place] + E_SUM);
                __builtin_prefetch(entries->cells[place] + E_BLOCKS + LOWEST_BLOCK);
                good = true;
            }
        }
    }
    PyBuffer_Release(&pairs);
    if (!good) {
        let_go(entries);
    }
    return good;
}

static PyObject *
added_up(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4) {
        return PyErr_Format(PyExc_TypeError, "added_up(segments, places, blocks, before)");
    }
    Added all; /* but for the lanes, which are cleared when they are used */
    all.total = all.high = all.errors = all.cancelled = all.ignored = all.sum.used = 0;
    all.low = UINT64_MAX;
    all.any = false;
    all.blocks = PyLong_AsUnsignedLongLongMask(args[2]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    all.blocks &= ((uint64_t)1 << BLOCKS) - ((uint64_t)1 << LOWEST_BLOCK);
    Py_ssize_t length;
    const Pair *before = pairs_of(args[3], &length);
    Entries entries;
    if (before == NULL || !hold(&entries, args[0], args[1])) {
        return NULL;
    }
    for (const Pair *pair = before; pair < before + length; pair++) {
        uint64_t block = pair->bucket / LANES;
        if (block < BLOCKS && all.blocks >> block & 1) {
            block_of(&all.sum, (unsigned)block); /* whatever it was before */
        }
    }
    for (Py_ssize_t place = 0; place < entries.length; place++) {
        prefetch_blocks(&entries.segments[place], entries.cells[place], all.blocks);
    }
    for (Py_ssize_t place = 0; place < entries.length; place++) {
        add_entry(&all, &entries.segments[place], entries.cells[place]);
    }
    let_go(&entries);
    PyObject *high = all.any ? PyLong_FromUnsignedLongLong(all.high) : PyLong_FromLong(-1);
    return Py_BuildValue("NKKNKKK", pairs_from(&all.sum, before, length), (unsigned long long)all.total,
                         (unsigned long long)all.low, high, (unsigned long long)all.errors,
                         (unsigned long long)all.cancelled, (unsigned long long)all.ignored);
}

static PyObject *
active(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        return PyErr_Format(PyExc_TypeError, "active(segments, places)");
    }
    Entries entries;
    if (!hold(&entries, args[0], args[1])) {
        return NULL;
    }
    uint64_t sum = 0;
    for (Py_ssize_t place = 0; place < entries.length; place++) {
        sum += word(entries.cells[place], E_ACTIVE);
    }
    let_go(&entries);
    return PyLong_FromUnsignedLongLong(sum);
}

/* --- The module --- */

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL

static PyMethodDef module_methods[] = {
    {"added", added, METH_O, PyDoc_STR("added(several): the buckets of all of them together.")},
    {"difference", FAST(difference),
     PyDoc_STR("difference(now, before): what the buckets hold more than before.")},
    {"count", count, METH_O, PyDoc_STR("count(buckets): how many they count.")},
    {"quantiles", FAST(quantiles),
     PyDoc_STR("quantiles(buckets, low, high, units, fractions): a float for each fraction.")},
    {"lines", FAST(lines),
     PyDoc_STR("lines(buckets, low, high, units, fractions, before, after): the same as text.")},
    {"changed", changed, METH_VARARGS,
     PyDoc_STR("changed(segment, offsets, owners, seen, news): the peaks of what has.")},
    {"added_up", FAST(added_up),
     PyDoc_STR("added_up(segments, places, blocks, before): what all entries hold together.")},
    {"active", FAST(active), PyDoc_STR("active(segments, places): how many calls run.")},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, add_layout},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tach._buckets",
    .m_doc = PyDoc_STR("Buckets in C. tach/buckets.py says when it is used."),
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__buckets(void)
{
    return PyModuleDef_Init(&module_definition);
}
