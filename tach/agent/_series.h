/* Series: where calls are counted, pointers into the words that a Recorder has made.
 *
 * What of the calls' time is counted apart has series of its own.
 */

#ifndef TACH_SERIES_H
#define TACH_SERIES_H

#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "../_layout.h"
#include "_accounts.h"
#include "_aside.h"
#include "_clock.h"
#include "_switches.h"
#include "_words.h"

/* classes of exceptions that a series knows without asking its recorder */
#define KNOWN_FAILURES 8
/* frames that the recorder may need where the program has none left */
#define SPARE_FRAMES 50

typedef struct {
    PyTypeObject *raised; /* borrowed: only compared */
    PyObject *weak;       /* to `raised`: another class may come to lie where it was */
    PyObject *view;       /* that `own` points into */
    uint64_t *all;        /* the word of the entry that counts such failures */
    uint64_t *own;        /* the word of their class; NULL where it has none */
} Failure;

typedef struct Series Series;

/* What counts the calls from one caller. */
typedef struct {
    Account *caller;
    Series *series;
} Edge;

/* What counts a call's time by its parts; each NULL where that is not asked for. */
typedef struct {
    Series *running, *waiting, *max_run, *cpu;
    Series *yields; /* numbers without a unit */
} Yielding;

struct Series {
    PyObject_HEAD
    PyObject *recorder;
    uint64_t *words;          /* of the entry; NULL until the first call */
    uint64_t *blocks[BLOCKS]; /* of its histogram, each NULL until needed */
    PyObject *held;           /* the memoryviews that those point into */
    uint64_t epoch;           /* a call that another epoch saw begin is the parent process's */
    bool inflight;
    unsigned known;
    unsigned oldest;
    Failure failures[KNOWN_FAILURES];
    Account *account;    /* NULL where nobody asks for the own time of the calls */
    Series *own;         /* counts that */
    Series *nested;      /* counts calls inside others of the account; NULL if not wanted, */
    PyObject *by_caller; /* as this, which makes a series for the name of a caller, */
    Series *waiting;     /* and how long calls paused in between */
    Edge *edges;
    size_t callers;
    Yielding yielding;
    bool by_stretches; /* whether any of those is asked for */
};

static PyTypeObject *series_type;

/* How many more frames there may be, besides what sys.setrecursionlimit counts. */
static inline void
allow_c_frames(int more)
{
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000
    PyThreadState_Get()->c_recursion_remaining += more;
#else
    (void)more;
#endif
}

/* What is asked may in turn make measured calls: of an audit hook that is a target, say, without end.
 */
#define DEEPEST_QUESTION 50

static _Thread_local unsigned questions; /* that this thread has asked and not got an answer to */

/* Call a method of the recorder.
 *
 * Where the program has no frames left it gets some more: its calls count there as well. Returns
 * NULL with an exception set, or without one where even those did not do, or memory is missing.
 */
static PyObject *
ask(Series *series, const char *method, PyObject *argument)
{
    if (questions >= DEEPEST_QUESTION) {
        return NULL;
    }
    PyObject *name = PyUnicode_InternFromString(method);
    if (name == NULL) {
        forgive();
        return NULL;
    }
    questions++;
    PyObject *answer = PyObject_CallMethodObjArgs(series->recorder, name, argument, NULL);
    if (answer == NULL && PyErr_ExceptionMatches(PyExc_RecursionError)) {
        PyErr_Clear();
        int limit = Py_GetRecursionLimit();
        Py_SetRecursionLimit(limit + SPARE_FRAMES);
        allow_c_frames(SPARE_FRAMES);
        answer = PyObject_CallMethodObjArgs(series->recorder, name, argument, NULL);
        allow_c_frames(-SPARE_FRAMES);
        if (Py_GetRecursionLimit() == limit + SPARE_FRAMES) {
            Py_SetRecursionLimit(limit);
        }
    }
    questions--;
    if (answer == NULL) {
        forgive();
    }
    Py_DECREF(name);
    return answer;
}

static uint64_t *
words_of(PyObject *view)
{
    if (!PyMemoryView_Check(view) || PyMemoryView_GET_BUFFER(view)->len < CELL_BYTES) {
        PyErr_SetString(PyExc_TypeError, "a recorder's words are a memoryview of a cell");
        return NULL;
    }
    return PyMemoryView_GET_BUFFER(view)->buf;
}

/* The words of a memoryview that the series holds from now on; takes the reference. NULL, with or
 * without an exception, if that cannot be.
 */
static uint64_t *
hold(Series *series, PyObject *view)
{
    uint64_t *words = words_of(view);
    if (words != NULL && series->held == NULL) {
        series->held = PyList_New(0);
    }
    if (words != NULL && (series->held == NULL || PyList_Append(series->held, view) < 0)) {
        words = NULL;
        forgive();
    }
    Py_DECREF(view);
    return words;
}

/* The words for the calls that begin now. Returns -1 with an exception set.
 *
 * They are NULL where the program has no room for that: the call is not counted.
 */
static int
series_begin(Series *series)
{
    uint64_t epoch = series->epoch;
    PyObject *view = ask(series, "begin", NULL);
    if (view == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    if (series->words != NULL || series->epoch != epoch) { /* another thread, or a fork, came by */
        Py_DECREF(view);
        return 0;
    }
    series->words = hold(series, view);
    return PyErr_Occurred() ? -1 : 0;
}

static inline unsigned
bit_length(uint64_t value)
{
    return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

/* The block for values of so many bits. NULL, with or without an exception, if there is none. */
static uint64_t *
open_block(Series *series, unsigned bits)
{
    uint64_t epoch = series->epoch;
    PyObject *argument = PyLong_FromUnsignedLong(bits);
    if (argument == NULL) {
        forgive();
        return NULL;
    }
    PyObject *view = ask(series, "block", argument);
    Py_DECREF(argument);
    if (view == NULL) {
        return NULL;
    }
    if (series->epoch != epoch) {
        Py_DECREF(view);
        return NULL;
    }
    return series->blocks[bits] = hold(series, view);
}

/* The word that counts values like this one. NULL, with or without an exception, if there is none.
 */
static inline uint64_t *
word_of(Series *series, uint64_t value)
{
    unsigned bits = bit_length(value);
    uint64_t lane = value;
    if (bits <= LOWEST_BLOCK) {
        bits = LOWEST_BLOCK;
    }
    else if (bits < BLOCKS) {
        lane = value >> (bits - 8) & (LANES - 1);
    }
    else {
        bits = BLOCKS - 1;
        lane = LANES - 1;
    }
    uint64_t *block = series->blocks[bits];
    if (block == NULL && (block = open_block(series, bits)) == NULL) {
        return NULL;
    }
    return &block[lane];
}

/* Count a call of `elapsed` nanoseconds, begun in this epoch. Returns -1 with an exception set. */
static inline int
series_count(Series *series, uint64_t elapsed)
{
    uint64_t *calls = word_of(series, elapsed);
    if (calls == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    uint64_t *words = series->words;
    if (elapsed < load(&words[E_MIN])) {
        store(&words[E_MIN], elapsed);
    }
    if (elapsed > load(&words[E_MAX])) {
        store(&words[E_MAX], elapsed);
    }
    add(calls, 1);
    __atomic_store_n(&words[E_SUM], load(&words[E_SUM]) + elapsed, __ATOMIC_RELEASE);
    return 0;
}

static bool
is_known(const Failure *failure, PyTypeObject *raised)
{
    if (failure->raised != raised) {
        return false;
    }
    if (failure->weak == NULL) {
        return true;
    }
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *found;
    if (PyWeakref_GetRef(failure->weak, &found) <= 0) {
        return false;
    }
    Py_DECREF(found);
    return found == (PyObject *)raised;
#else
    return PyWeakref_GET_OBJECT(failure->weak) == (PyObject *)raised;
#endif
}

static inline void
failure_count(const Failure *failure)
{
    if (failure->own != NULL) {
        add(failure->own, 1);
    }
    if (failure->all != NULL) {
        add(failure->all, 1);
    }
}

static Failure *
find_failure(Series *series, PyTypeObject *raised)
{
    for (unsigned place = 0; place < series->known; place++) {
        if (is_known(&series->failures[place], raised)) {
            return &series->failures[place];
        }
    }
    return NULL;
}

static void
failure_clear(Failure *failure)
{
    Failure old = *failure;
    memset(failure, 0, sizeof *failure);
    Py_XDECREF(old.weak);
    Py_XDECREF(old.view);
}

/* Fill `failure` with what the recorder says of the class. Returns -1 with an exception set. */
static int
learn(Series *series, PyTypeObject *raised, PyObject *answer, Failure *failure)
{
    int at;
    PyObject *view;
    if (!PyArg_ParseTuple(answer, "iO", &at, &view)) {
        return -1;
    }
    failure->raised = raised;
    failure->all = &series->words[at];
    if (view != Py_None) {
        uint64_t *words = words_of(view);
        if (words == NULL) {
            return -1;
        }
        failure->own = &words[E_COUNT];
        failure->view = Py_NewRef(view);
    }
    if (PyType_HasFeature(raised, Py_TPFLAGS_HEAPTYPE)) {
        failure->weak = PyWeakref_NewRef((PyObject *)raised, NULL);
        return failure->weak == NULL ? -1 : 0;
    }
    return 0;
}

/* Count a failure of a class not met before, and know it from now on; -1 with an exception set. */
static int
count_new_failure(Series *series, PyTypeObject *raised)
{
    uint64_t epoch = series->epoch;
    PyObject *answer = ask(series, "failure", (PyObject *)raised);
    if (answer == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    if (answer == Py_None || series->epoch != epoch) { /* it cannot be counted, or not here */
        Py_DECREF(answer);
        return 0;
    }
    Failure failure = {0};
    int status = learn(series, raised, answer, &failure);
    Py_DECREF(answer);
    if (status < 0) {
        failure_clear(&failure);
        forgive();
        return PyErr_Occurred() ? -1 : 0;
    }
    failure_count(&failure);
    if (find_failure(series, raised) != NULL) { /* another thread was first */
        failure_clear(&failure);
        return 0;
    }
    unsigned place = series->known;
    if (place < KNOWN_FAILURES) {
        series->known++;
    }
    else {
        place = series->oldest++ % KNOWN_FAILURES;
    }
    Failure replaced = series->failures[place];
    series->failures[place] = failure;
    failure_clear(&replaced);
    return 0;
}

static int
count_failure(Series *series, PyTypeObject *raised)
{
    Failure *failure = find_failure(series, raised);
    if (failure == NULL) {
        return count_new_failure(series, raised);
    }
    failure_count(failure);
    return 0;
}

/* Count in a series that may not have begun yet. Returns -1 with an exception set. */
static int
count_into(Series *series, uint64_t elapsed)
{
    if (series->words == NULL && series_begin(series) < 0) {
        return -1;
    }
    return series->words == NULL ? 0 : series_count(series, elapsed);
}

static inline double
load_double(const uint64_t *word)
{
    const uint64_t bits = load(word);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static inline void
store_double(uint64_t *word, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    __atomic_store_n(word, bits, __ATOMIC_RELEASE);
}

/* Count a number without a unit, as Numbers does. Returns -1 with an exception set. */
static int
count_number(Series *series, uint64_t number)
{
    if (series->words == NULL && series_begin(series) < 0) {
        return -1;
    }
    uint64_t *calls = series->words == NULL ? NULL : word_of(series, number * NUMBER_UNITS);
    if (calls == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    uint64_t *words = series->words;
    const double value = (double)number;
    if (value < load_double(&words[E_MIN])) {
        store_double(&words[E_MIN], value);
    }
    if (value > load_double(&words[E_MAX])) {
        store_double(&words[E_MAX], value);
    }
    add(calls, 1);
    store_double(&words[E_LAST], value);
    store_double(&words[E_SUM], load_double(&words[E_SUM]) + value);
    return 0;
}

/* --- Stretches: for how long a call has run, and how often and how long it paused in between --- */

typedef struct {
    uint64_t resumed;     /* when it began to run; 0 while it does not */
    uint64_t resumed_cpu; /* what its thread had used by then */
    Watching watching;    /* its greenlet meanwhile */
    uint64_t running, longest, cpu, pauses;
} Stretches;

/* It begins to run at `at`. No exception is to be set. */
static void
stretches_resume(Stretches *stretches, const Yielding *yielding, uint64_t at)
{
    stretches->resumed = at;
    stretches->watching.switches = NULL;
    if (yielding->cpu != NULL) {
        stretches->resumed_cpu = thread_time();
    }
    PyObject *greenlet = hubs && has_greenlets() ? current_greenlet() : NULL;
    if (greenlet != NULL) {
        bool longest = yielding->max_run != NULL;
        watching_begin(&stretches->watching, greenlet, yielding->cpu != NULL, longest, at);
    }
    PyErr_Clear();
}

/* It has run until `at`. */
static void
stretches_pause(Stretches *stretches, const Yielding *yielding, uint64_t at)
{
    if (stretches->resumed == 0) {
        return;
    }
    const uint64_t ran = between(stretches->resumed, at);
    uint64_t out = 0, longest = ran, cpu = 0;
    if (yielding->cpu != NULL) {
        cpu = between(stretches->resumed_cpu, thread_time());
    }
    Watching *watching = &stretches->watching;
    if (watching->switches != NULL) {
        watching_end(watching, at);
        out = watching->out;
        longest = watching->longest;
        cpu = between(watching->cpu, cpu);
        stretches->pauses += watching->pauses;
    }
    stretches->resumed = 0;
    stretches->running += between(out, ran);
    stretches->longest = greater(stretches->longest, longest);
    stretches->cpu += cpu;
}

static Stretches *
new_stretches(const Series *series)
{
    return series->by_stretches ? PyMem_Calloc(1, sizeof(Stretches)) : NULL;
}

/* It has gone without an end. */
static void
stretches_drop(Stretches *stretches)
{
    watching_end(&stretches->watching, now());
    PyMem_Free(stretches);
}

/* Count them of a call that took `elapsed`. Returns -1 with an exception set. */
static int
count_stretches(const Yielding *yielding, const Stretches *stretches, uint64_t elapsed)
{
    const uint64_t waiting = between(stretches->running, elapsed);
    if ((yielding->running != NULL && count_into(yielding->running, elapsed - waiting) < 0) ||
        (yielding->waiting != NULL && count_into(yielding->waiting, waiting) < 0) ||
        (yielding->max_run != NULL &&
         count_into(yielding->max_run, less(stretches->longest, elapsed)) < 0) ||
        (yielding->cpu != NULL && count_into(yielding->cpu, stretches->cpu) < 0)) {
        return -1;
    }
    return yielding->yields == NULL ? 0 : count_number(yielding->yields, stretches->pauses);
}

static Series *
known_caller(const Series *series, const Account *caller)
{
    for (size_t place = 0; place < series->callers; place++) {
        if (series->edges[place].caller == caller) {
            return series->edges[place].series;
        }
    }
    return NULL;
}

/* What counts the calls from that caller. NULL, with or without an exception, if there is none. */
static Series *
series_of_caller(Series *series, Account *caller)
{
    Series *known = known_caller(series, caller);
    if (known != NULL) {
        return known;
    }
    PyObject *made = PyObject_CallOneArg(series->by_caller, caller->name);
    if (made == NULL) {
        forgive();
        return NULL;
    }
    known = known_caller(series, caller); /* another thread may have been first */
    Edge *edges = NULL;
    if (known == NULL && Py_IS_TYPE(made, series_type)) {
        edges = PyMem_Realloc(series->edges, (series->callers + 1) * sizeof *edges);
    }
    if (edges != NULL) {
        known = (Series *)Py_NewRef(made);
        series->edges = edges;
        edges[series->callers].caller = (Account *)Py_NewRef((PyObject *)caller);
        edges[series->callers++].series = known;
    }
    Py_DECREF(made);
    return known;
}

/* Count what of a call's time was its own, and whose call it was; -1 with an exception set. */
static int
attribute(Series *series, const Frame *frame, uint64_t elapsed)
{
    uint64_t own = frame->ran > frame->within ? frame->ran - frame->within : 0;
    if (count_into(series->own, own) < 0) {
        return -1;
    }
    if (frame->nested && series->nested != NULL && count_into(series->nested, elapsed) < 0) {
        return -1;
    }
    uint64_t paused = elapsed > frame->ran ? elapsed - frame->ran : 0;
    if (paused != 0 && series->waiting != NULL && count_into(series->waiting, paused) < 0) {
        return -1;
    }
    if (frame->caller == NULL || series->by_caller == NULL) {
        return 0;
    }
    Series *of_caller = series_of_caller(series, frame->caller);
    if (of_caller == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return count_into(of_caller, elapsed);
}

/* What is known of one call besides its time; each NULL where nobody asks. */
typedef struct {
    Frame *frame;
    Stretches *stretches;
} Parts;

/* Count a call. Returns -1 with an exception set. */
static inline int
series_count_call(Series *series, const Parts *parts, uint64_t elapsed)
{
    if (parts->frame != NULL || parts->stretches != NULL) {
        uint64_t epoch = series->epoch;
        if (parts->stretches != NULL &&
            count_stretches(&series->yielding, parts->stretches, elapsed) < 0) {
            return -1;
        }
        if (series->epoch == epoch && parts->frame != NULL &&
            attribute(series, parts->frame, elapsed) < 0) {
            return -1;
        }
        if (series->epoch != epoch) {
            return 0;
        }
    }
    return series_count(series, elapsed);
}

/* Count a call that took `elapsed` and raised what is set now, which stays set. */
static void
series_fail(Series *series, const Parts *parts, uint64_t elapsed)
{
    Aside aside = put_aside_raised();
    uint64_t epoch = series->epoch;
    if (series_count_call(series, parts, elapsed) < 0) {
        replace(aside);
        return;
    }
    if (series->epoch == epoch && count_failure(series, Py_TYPE(value_of(aside))) < 0) {
        replace(aside);
        return;
    }
    put_back(aside);
}

static inline bool
has_parts(const Parts *parts)
{
    return parts->frame != NULL || parts->stretches != NULL;
}

/* What the series asks for, of a call that is about to begin; as far as there is memory for it.
 * None of it may lie on the C stack: greenlets take that away while others run.
 */
static inline void
parts_begin(Parts *parts, const Series *series)
{
    parts->frame = NULL;
    if (series->account != NULL && (parts->frame = PyMem_Malloc(sizeof(Frame))) != NULL) {
        frame_begin(parts->frame, series->account);
    }
    parts->stretches = new_stretches(series);
}

/* It runs from `at` on, and until `at`. */
static inline void
parts_resume(Parts *parts, const Series *series, uint64_t at)
{
    if (parts->stretches != NULL) {
        stretches_resume(parts->stretches, &series->yielding, at);
    }
    if (parts->frame != NULL) {
        frame_resume(parts->frame, at);
    }
}

static inline void
parts_pause(Parts *parts, const Series *series, uint64_t at)
{
    if (parts->frame != NULL) {
        frame_pause(parts->frame, between(parts->frame->resumed, at));
    }
    if (parts->stretches != NULL) {
        stretches_pause(parts->stretches, &series->yielding, at);
    }
}

static inline void
parts_end(Parts *parts)
{
    if (parts->frame != NULL) {
        frame_end(parts->frame);
        PyMem_Free(parts->frame);
    }
    if (parts->stretches != NULL) {
        stretches_drop(parts->stretches);
    }
}

/* A call begins to run: the number of its slot, from 1 on; 0 where all are taken. */
static inline unsigned
series_enter(Series *series, uint64_t start)
{
    uint64_t *words = series->words;
    uint64_t active = load(&words[E_ACTIVE]) + 1;
    store(&words[E_ACTIVE], active);
    if (active > load(&words[E_PEAK])) {
        store(&words[E_PEAK], active);
    }
    uint64_t free = ~load(&words[E_TAKEN]) & ((1u << SLOTS) - 1);
    if (free == 0) {
        add(&words[E_CROWD], 1);
        add(&words[E_CROWD_STARTS], start / CROWD_UNIT);
        return 0;
    }
    unsigned slot = (unsigned)__builtin_ctzll(free);
    add(&words[E_TAKEN], UINT64_C(1) << slot);
    store(&words[E_SLOTS + slot], start);
    return slot + 1;
}

static inline void
series_leave(Series *series, unsigned slot, uint64_t start)
{
    uint64_t *words = series->words;
    if (slot != 0) {
        store(&words[E_SLOTS + slot - 1], 0);
        add(&words[E_TAKEN], -(UINT64_C(1) << (slot - 1)));
    }
    else {
        add(&words[E_CROWD], (uint64_t)-1);
        add(&words[E_CROWD_STARTS], -(start / CROWD_UNIT));
    }
    add(&words[E_ACTIVE], (uint64_t)-1);
}

static void
series_forget(Series *series)
{
    PyObject *held = series->held;
    series->words = NULL;
    series->held = NULL;
    series->epoch++;
    memset(series->blocks, 0, sizeof series->blocks);
    unsigned known = series->known;
    series->known = series->oldest = 0;
    for (unsigned place = 0; place < known; place++) {
        failure_clear(&series->failures[place]);
    }
    Py_XDECREF(held);
}

static PyObject *
series_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"recorder", "inflight", NULL};
    PyObject *recorder;
    int inflight = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:Series", names, &recorder, &inflight)) {
        return NULL;
    }
    Series *series = (Series *)type->tp_alloc(type, 0);
    if (series != NULL) {
        series->recorder = Py_NewRef(recorder);
        series->inflight = inflight;
    }
    return (PyObject *)series;
}

enum { QUANTITIES = sizeof(Yielding) / sizeof(Series *) };

/* Those of its `yielding`, each of which may be NULL. */
static inline Series **
quantities_of(Series *series)
{
    return (Series **)&series->yielding;
}

/* For PyArg_Parse: a Series, borrowed, or NULL for None. */
static int
to_series(PyObject *object, void *found)
{
    if (object != Py_None && !Py_IS_TYPE(object, series_type)) {
        PyErr_SetString(PyExc_TypeError, "neither a Series nor None");
        return 0;
    }
    *(Series **)found = object == Py_None ? NULL : (Series *)object;
    return 1;
}

static PyObject *
series_attribute(PyObject *self, PyObject *args)
{
    Series *series = (Series *)self;
    PyObject *account, *own, *by_caller = NULL;
    Series *nested = NULL, *waiting = NULL;
    if (!PyArg_ParseTuple(args, "O!O!|O&O&O:attribute", account_type, &account, series_type, &own,
                          to_series, &nested, to_series, &waiting, &by_caller)) {
        return NULL;
    }
    if (series->account != NULL) {
        PyErr_SetString(PyExc_TypeError, "to be called once");
        return NULL;
    }
    series->account = (Account *)Py_NewRef(account);
    series->own = (Series *)Py_NewRef(own);
    series->nested = (Series *)Py_XNewRef((PyObject *)nested);
    series->waiting = (Series *)Py_XNewRef((PyObject *)waiting);
    series->by_caller = Py_XNewRef(by_caller);
    Py_RETURN_NONE;
}

static PyObject *
series_divide(PyObject *self, PyObject *args)
{
    Series *series = (Series *)self;
    Yielding yielding = {0};
    if (!PyArg_ParseTuple(args, "O&O&O&O&O&:divide", to_series, &yielding.running, to_series,
                          &yielding.waiting, to_series, &yielding.max_run, to_series, &yielding.cpu,
                          to_series, &yielding.yields)) {
        return NULL;
    }
    if (series->by_stretches) {
        PyErr_SetString(PyExc_TypeError, "to be called once");
        return NULL;
    }
    series->yielding = yielding;
    series->by_stretches = true;
    for (size_t place = 0; place < QUANTITIES; place++) {
        Py_XINCREF((PyObject *)quantities_of(series)[place]);
    }
    Py_RETURN_NONE;
}

static int
series_traverse(PyObject *self, visitproc visit, void *arg)
{
    Series *series = (Series *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(series->recorder);
    Py_VISIT(series->held);
    Py_VISIT((PyObject *)series->own);
    Py_VISIT((PyObject *)series->nested);
    Py_VISIT((PyObject *)series->waiting);
    for (size_t place = 0; place < QUANTITIES; place++) {
        Py_VISIT((PyObject *)quantities_of(series)[place]);
    }
    Py_VISIT(series->by_caller);
    for (size_t place = 0; place < series->callers; place++) {
        Py_VISIT((PyObject *)series->edges[place].series);
    }
    for (unsigned place = 0; place < series->known; place++) {
        Py_VISIT(series->failures[place].view);
        Py_VISIT(series->failures[place].weak);
    }
    return 0;
}

static int
series_clear(PyObject *self)
{
    Series *series = (Series *)self;
    series_forget(series);
    Edge *edges = series->edges;
    size_t callers = series->callers;
    series->edges = NULL;
    series->callers = 0;
    for (size_t place = 0; place < callers; place++) {
        Py_DECREF(edges[place].caller);
        Py_DECREF(edges[place].series);
    }
    PyMem_Free(edges);
    Py_CLEAR(series->own);
    Py_CLEAR(series->nested);
    Py_CLEAR(series->waiting);
    series->by_stretches = false;
    for (size_t place = 0; place < QUANTITIES; place++) {
        Py_CLEAR(quantities_of(series)[place]);
    }
    Py_CLEAR(series->by_caller);
    Py_CLEAR(series->recorder);
    return 0;
}

static void
series_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    series_clear(self);
    Py_CLEAR(((Series *)self)->account);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
series_reset(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    series_forget((Series *)self);
    Py_RETURN_NONE;
}

static PyObject *
series_count_one(PyObject *self, PyObject *argument)
{
    Series *series = (Series *)self;
    uint64_t elapsed = PyLong_AsUnsignedLongLong(argument);
    if (PyErr_Occurred() || (series->words == NULL && series_begin(series) < 0)) {
        return NULL;
    }
    if (series->words != NULL && series_count(series, elapsed) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef series_methods[] = {
    {"reset", series_reset, METH_NOARGS,
     PyDoc_STR("Start anew: in a forked child the recorder has other words.")},
    {"attribute", series_attribute, METH_VARARGS,
     PyDoc_STR("attribute(account, own[, nested, waiting, by_caller]): tell apart whose time it\n"
               "is. The first three count it; `by_caller` makes a series for the name of one.")},
    {"divide", series_divide, METH_VARARGS,
     PyDoc_STR("divide(running, waiting, max_run, cpu, yields): count the parts of each call in\n"
               "these; None for what is not asked for.")},
    {"count", series_count_one, METH_O,
     PyDoc_STR("Count a call that took so many nanoseconds and raised nothing.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot series_slots[] = {
    {Py_tp_doc, "Counts the calls of one recorder: Series(recorder, inflight=False)."},
    {Py_tp_new, series_new},
    {Py_tp_traverse, series_traverse},
    {Py_tp_clear, series_clear},
    {Py_tp_dealloc, series_dealloc},
    {Py_tp_methods, series_methods},
    {0, NULL},
};

static PyType_Spec series_spec = {
    .name = "tach.agent._probe.Series",
    .basicsize = sizeof(Series),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = series_slots,
};

#endif
