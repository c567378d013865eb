/* The compiled probe: what probe.py does for each call, at a tenth of its cost.
 *
 * Series       where calls are counted: pointers into the words that a Recorder has made
 * Yielding     what of the calls' time is counted apart, in series of their own
 * Account      whose time it is; Frame and Stack: while one measured function calls another
 * Stand        what stands in for a generator or coroutine, whose time to the end it counts
 * Probe        a transparent proxy of a function, whose calls it times and counts
 * Watch        what a greenthread, in which a call runs, has been switched out for
 * Switch       a hub's way to another greenthread, which tells the watches
 *
 * Off the path of a call (the series' begin, a new block of its histogram, a new class of
 * exceptions) the Recorder's Python methods are called; they also say what is an error.
 *
 * Exactness without a lock: all of this runs with the GIL held, and between reading a word and
 * writing it back nothing is called that could release it. The reader is another process, so each
 * word is stored at once and the sum last: it tells the reader that the rest has changed.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "../_layout.h"
#include "_clock.h"
#include "_switches.h"

/* classes of exceptions that a series knows without asking its recorder */
#define KNOWN_FAILURES 8
/* frames that the recorder may need where the program has none left */
#define SPARE_FRAMES 50

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

/* --- The exception that is on its way, put aside while Python code runs --- */

#if PY_VERSION_HEX >= 0x030C0000

typedef PyObject *Aside;

static inline Aside
put_aside(void)
{
    return PyErr_GetRaisedException();
}

static inline void
put_back(Aside aside)
{
    PyErr_SetRaisedException(aside);
}

static inline PyObject *
value_of(Aside aside)
{
    return aside;
}

static inline void
drop(Aside aside)
{
    Py_XDECREF(aside);
}

#else

typedef struct {
    PyObject *type, *value, *traceback;
} Aside;

static inline Aside
put_aside(void)
{
    Aside aside;
    PyErr_Fetch(&aside.type, &aside.value, &aside.traceback);
    /* whoever catches it does that anyway; until then the class may be that of a base */
    PyErr_NormalizeException(&aside.type, &aside.value, &aside.traceback);
    if (aside.traceback != NULL) {
        PyException_SetTraceback(aside.value, aside.traceback);
    }
    return aside;
}

static inline void
put_back(Aside aside)
{
    PyErr_Restore(aside.type, aside.value, aside.traceback);
}

static inline PyObject *
value_of(Aside aside)
{
    return aside.value;
}

static inline void
drop(Aside aside)
{
    Py_XDECREF(aside.type);
    Py_XDECREF(aside.value);
    Py_XDECREF(aside.traceback);
}

#endif

/* The same for what a call has raised. Where it says nothing, as Python itself may without memory,
 * it is what the interpreter makes of that.
 */
static Aside
put_aside_raised(void)
{
    if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_SystemError, "error return without exception set");
    }
    return put_aside();
}

/* What a signal handler of the program has raised meanwhile goes on instead of `aside`. */
static void
replace(Aside aside)
{
    Aside raised = put_aside();
    if (value_of(raised) != value_of(aside)) {
        PyException_SetContext(value_of(raised), Py_NewRef(value_of(aside)));
    }
    drop(aside);
    put_back(raised);
}

/* Forget what has been raised if it is for want of frames or of memory: see exhausted.py. */
static void
forgive(void)
{
    if (PyErr_Occurred() && (PyErr_ExceptionMatches(PyExc_RecursionError) ||
                             PyErr_ExceptionMatches(PyExc_MemoryError))) {
        PyErr_Clear();
    }
}

/* The exception that the current frame handles; returns the one it handled before. */
#if PY_VERSION_HEX >= 0x030B0000

static PyObject *
handle(PyObject *error)
{
    PyObject *before = PyErr_GetHandledException();
    PyErr_SetHandledException(error);
    return before;
}

static void
handle_again(PyObject *before)
{
    PyErr_SetHandledException(before);
    Py_XDECREF(before);
}

#else

static PyObject *
handle(PyObject *error)
{
    PyObject *type, *before, *traceback;
    PyErr_GetExcInfo(&type, &before, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    PyErr_SetExcInfo(Py_NewRef((PyObject *)Py_TYPE(error)), Py_NewRef(error),
                     PyException_GetTraceback(error));
    return before;
}

static void
handle_again(PyObject *before)
{
    if (before == NULL || before == Py_None) {
        Py_XDECREF(before);
        PyErr_SetExcInfo(NULL, NULL, NULL);
        return;
    }
    PyErr_SetExcInfo(Py_NewRef((PyObject *)Py_TYPE(before)), before,
                     PyException_GetTraceback(before));
}

#endif

/* --- Accounts: whose time it is, while one measured function calls another --- */

typedef struct {
    PyObject_HEAD
    PyObject *name;
    uint64_t active; /* frames of it on all stacks; in a forked child some that are gone */
} Account;

typedef struct Stack Stack;

/* A call, a generator or a coroutine. While it runs it is on the stack of its thread, or of its
 * greenthread: a generator is on that of whoever steps it.
 */
typedef struct Frame {
    Account *account;
    Account *caller; /* of the frame around the first step; NULL where nothing measured ran */
    struct Frame *around;
    Stack *stack;     /* NULL while it does not run */
    uint64_t resumed; /* when it came onto the stack */
    uint64_t ran;     /* how long it has been there before, in all; */
    uint64_t within;  /* and for how much of that others were on top of it */
    bool began;
    bool nested; /* it began inside another one of its account */
} Frame;

/* All frames on a stack are alive: whatever goes but is not on top takes the whole stack down. */
struct Stack {
    PyObject_HEAD
    Frame *top;
    void *home; /* the greenlet, only compared */
};

static PyTypeObject *account_type, *stack_type, *frame_type;
static PyObject *stack_key, *stack_variable, *greenlet_name, *getcurrent;
static PyObject *(*get_current)(void); /* the same for C, where greenlet has it */
static bool hubs;                      /* there are some whose switch has been wrapped */
static __thread Stack *thread_stack; /* held by the thread's state, */
static __thread uint64_t thread_of_stack; /* which has this number */
static __thread void *main_greenlet;

static bool is_probe_type(PyTypeObject *type);
static PyObject *unprobed_function(PyObject *found);

static Stack *
new_stack(void *home)
{
    Stack *stack = PyObject_New(Stack, stack_type);
    if (stack != NULL) {
        stack->top = NULL;
        stack->home = home;
    }
    return stack;
}

/* The stack of the thread, borrowed. NULL if there is no memory for it. */
static Stack *
stack_of_thread(void)
{
    uint64_t thread = PyThreadState_GetID(PyThreadState_Get());
    if (thread_stack != NULL && thread_of_stack == thread) {
        return thread_stack;
    }
    PyObject *state = PyThreadState_GetDict();
    Stack *stack = state == NULL ? NULL : new_stack(NULL);
    if (stack == NULL || PyDict_SetItem(state, stack_key, (PyObject *)stack) < 0) {
        PyErr_Clear();
        Py_XDECREF(stack);
        return NULL;
    }
    thread_stack = stack;
    thread_of_stack = thread;
    Py_DECREF(stack);
    return stack;
}

/* The stack of a greenlet that is not its thread's first: it lies in the greenlet's context. */
static Stack *
stack_of_greenlet(void *greenlet)
{
    PyObject *found = NULL;
    if (PyContextVar_Get(stack_variable, NULL, &found) < 0) {
        PyErr_Clear();
        return NULL;
    }
    if (found != NULL) {
        Py_DECREF(found); /* the context holds it */
        if (Py_IS_TYPE(found, stack_type) && ((Stack *)found)->home == greenlet) {
            return (Stack *)found;
        }
    } /* else it has taken the context of another one along */
    Stack *stack = new_stack(greenlet);
    PyObject *token = NULL;
    if (stack != NULL) {
        token = PyContextVar_Set(stack_variable, (PyObject *)stack);
    }
    if (token == NULL) {
        PyErr_Clear();
        Py_CLEAR(stack);
        return NULL;
    }
    Py_DECREF(token);
    Py_DECREF(stack);
    return stack;
}

/* The first greenlet of the thread, which lives as long as that; NULL if nobody knows. */
static void *
first_of(PyObject *greenlet)
{
    PyObject *each = Py_NewRef(greenlet);
    while (each != NULL) {
        PyObject *parent = PyObject_GetAttrString(each, "parent");
        if (parent == Py_None) {
            Py_DECREF(parent);
            break;
        }
        Py_SETREF(each, parent);
    }
    PyErr_Clear();
    Py_XDECREF(each);
    return each;
}

/* Its place among the functions that greenlet's capsule has for C, see its greenlet.h. */
enum { GREENLET_GET_CURRENT = 4 };

static void
find_greenlets(PyObject *module)
{
    PyObject *capsule = PyObject_GetAttrString(module, "_C_API");
    void **functions = capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, "greenlet._C_API");
    if (functions != NULL) {
        get_current = (PyObject * (*)(void)) functions[GREENLET_GET_CURRENT];
    }
    Py_XDECREF(capsule);
    PyErr_Clear();
    PyObject *found = PyObject_GetAttrString(module, "getcurrent");
    PyErr_Clear();
    if (found != NULL && getcurrent == NULL) {
        getcurrent = unprobed_function(found);
    }
    Py_XDECREF(found);
}

static bool
has_greenlets(void)
{
    if (getcurrent == NULL) {
        PyObject *module = PyDict_GetItemWithError(PyImport_GetModuleDict(), greenlet_name);
        if (module != NULL) {
            find_greenlets(module);
        }
        PyErr_Clear();
    }
    return getcurrent != NULL;
}

/* The greenlet that runs, borrowed: as long as it runs, it stays. NULL with an exception set. */
static PyObject *
current_greenlet(void)
{
    PyObject *greenlet = get_current != NULL ? get_current() : PyObject_CallNoArgs(getcurrent);
    Py_XDECREF(greenlet);
    return greenlet;
}

/* The stack of what runs, borrowed. NULL where it cannot be had. No exception is to be set. */
static Stack *
current_stack(void)
{
    if (!has_greenlets()) {
        return stack_of_thread();
    }
    PyObject *greenlet = current_greenlet();
    if (greenlet == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (main_greenlet == NULL) {
        main_greenlet = first_of(greenlet);
    }
    return greenlet == main_greenlet ? stack_of_thread() : stack_of_greenlet(greenlet);
}

static void
frame_begin(Frame *frame, Account *account)
{
    memset(frame, 0, sizeof *frame);
    frame->account = (Account *)Py_NewRef((PyObject *)account);
}

/* It goes onto the stack, at `at`. No exception is to be set. */
static inline void
frame_resume(Frame *frame, uint64_t at)
{
    Stack *stack = current_stack();
    frame->resumed = at;
    if (stack == NULL) {
        return;
    }
    frame->stack = (Stack *)Py_NewRef((PyObject *)stack);
    frame->around = stack->top;
    if (!frame->began) {
        frame->began = true;
        if (stack->top != NULL) {
            frame->caller = (Account *)Py_NewRef((PyObject *)stack->top->account);
        }
        if (frame->account->active != 0) {
            Frame *each = stack->top;
            while (each != NULL && each->account != frame->account) {
                each = each->around;
            }
            frame->nested = each != NULL;
        }
    }
    frame->account->active++;
    stack->top = frame;
}

/* It has been on the stack for `elapsed`, and goes from it. */
static inline void
frame_pause(Frame *frame, uint64_t elapsed)
{
    Stack *stack = frame->stack;
    frame->ran += elapsed;
    if (stack == NULL) {
        return;
    }
    frame->stack = NULL;
    frame->account->active--;
    if (stack->top == frame) {
        stack->top = frame->around;
        if (frame->around != NULL) {
            frame->around->within += elapsed;
        }
    }
    else {
        stack->top = NULL;
    }
    frame->around = NULL;
    Py_DECREF(stack);
}

static void
frame_end(Frame *frame)
{
    frame_pause(frame, 0);
    Py_CLEAR(frame->account);
    Py_CLEAR(frame->caller);
}

static void
plain_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
account_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *name;
    if (!PyArg_ParseTuple(args, "U:Account", &name)) {
        return NULL;
    }
    Account *account = (Account *)type->tp_alloc(type, 0);
    if (account != NULL) {
        account->name = Py_NewRef(name);
    }
    return (PyObject *)account;
}

static void
account_dealloc(PyObject *self)
{
    Py_CLEAR(((Account *)self)->name);
    plain_dealloc(self);
}

static PyMemberDef account_members[] = {
    {"name", T_OBJECT_EX, offsetof(Account, name), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* A frame for Python code. */
typedef struct {
    PyObject_HEAD
    Frame frame;
} FrameObject;

static PyObject *
frame_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *account;
    if (!PyArg_ParseTuple(args, "O!:Frame", account_type, &account)) {
        return NULL;
    }
    FrameObject *self = (FrameObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        frame_begin(&self->frame, (Account *)account);
    }
    return (PyObject *)self;
}

static void
frame_dealloc(PyObject *self)
{
    frame_end(&((FrameObject *)self)->frame);
    plain_dealloc(self);
}

static PyObject *
frame_resume_method(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Frame *frame = &((FrameObject *)self)->frame;
    if (frame->stack == NULL) {
        frame_resume(frame, now());
    }
    Py_RETURN_NONE;
}

static PyObject *
frame_pause_method(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Frame *frame = &((FrameObject *)self)->frame;
    if (frame->stack != NULL) {
        frame_pause(frame, since(frame->resumed));
    }
    Py_RETURN_NONE;
}

static PyObject *
frame_get_within(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((FrameObject *)self)->frame.within);
}

static PyObject *
frame_get_nested(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((FrameObject *)self)->frame.nested);
}

static PyObject *
frame_get_caller(PyObject *self, void *Py_UNUSED(closure))
{
    Account *caller = ((FrameObject *)self)->frame.caller;
    return Py_NewRef(caller == NULL ? Py_None : caller->name);
}

static PyMethodDef frame_methods[] = {
    {"resume", frame_resume_method, METH_NOARGS, PyDoc_STR("It goes on.")},
    {"pause", frame_pause_method, METH_NOARGS, PyDoc_STR("It pauses, or has ended.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef frame_getset[] = {
    {"within", frame_get_within, NULL, PyDoc_STR("For how long others were on top of it."), NULL},
    {"nested", frame_get_nested, NULL, PyDoc_STR("Whether it is inside another of it."), NULL},
    {"caller", frame_get_caller, NULL, PyDoc_STR("The name of what was on top before."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot account_slots[] = {
    {Py_tp_doc, "Whose time is told apart from that of others: Account(name)."},
    {Py_tp_new, account_new},
    {Py_tp_dealloc, account_dealloc},
    {Py_tp_members, account_members},
    {0, NULL},
};

static PyType_Slot stack_slots[] = {
    {Py_tp_dealloc, plain_dealloc},
    {0, NULL},
};

static PyType_Slot frame_slots[] = {
    {Py_tp_doc, "A call, generator or coroutine of an account: Frame(account)."},
    {Py_tp_new, frame_new},
    {Py_tp_dealloc, frame_dealloc},
    {Py_tp_methods, frame_methods},
    {Py_tp_getset, frame_getset},
    {0, NULL},
};

static PyType_Spec account_spec = {
    .name = "tach.agent._probe.Account",
    .basicsize = sizeof(Account),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = account_slots,
};

static PyType_Spec stack_spec = {
    .name = "tach.agent._probe.Stack",
    .basicsize = sizeof(Stack),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = stack_slots,
};

static PyType_Spec frame_spec = {
    .name = "tach.agent._probe.Frame",
    .basicsize = sizeof(FrameObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = frame_slots,
};

static int
make_account_types(PyObject *module)
{
    stack_key = PyUnicode_InternFromString("tach.stack");
    greenlet_name = PyUnicode_InternFromString("greenlet");
    stack_variable = PyContextVar_New("tach.stack", NULL);
    account_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &account_spec, NULL);
    stack_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &stack_spec, NULL);
    frame_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &frame_spec, NULL);
    return stack_key && greenlet_name && stack_variable && account_type && stack_type && frame_type
               ? 0
               : -1;
}

/* --- News: whether the plan of the run has been changed, as news.py says --- */

static const uint64_t no_news = 0;
static const uint64_t *news = &no_news;
static PyObject *news_view; /* that it points into */
static PyObject *news_take;

static inline bool
has_news(void)
{
    return __builtin_expect(load(news) != 0, 0);
}

/* Take them up: 1 if there were any, so that the call is to begin anew; -1 with an exception set. */
static int
take_news(void)
{
    if (news_take == NULL) {
        return 0;
    }
    PyObject *taken = PyObject_CallNoArgs(news_take);
    int answer = taken == Py_True;
    if (taken == NULL) {
        forgive();
        answer = PyErr_Occurred() ? -1 : 0;
    }
    Py_XDECREF(taken);
    return answer;
}

static PyObject *
watch(PyObject *Py_UNUSED(module), PyObject *view)
{
    if (!PyMemoryView_Check(view) ||
        PyMemoryView_GET_BUFFER(view)->len < (Py_ssize_t)sizeof *news) {
        PyErr_SetString(PyExc_TypeError, "not a memoryview of a word");
        return NULL;
    }
    PyObject *old = news_view;
    news_view = Py_NewRef(view);
    news = PyMemoryView_GET_BUFFER(view)->buf;
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyObject *
listen(PyObject *Py_UNUSED(module), PyObject *take)
{
    Py_XSETREF(news_take, Py_NewRef(take));
    Py_RETURN_NONE;
}

/* --- Series --- */

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

/* Call a method of the recorder.
 *
 * Where the program has no frames left it gets some more: its calls count there as well. Returns
 * NULL with an exception set, or without one where even those did not do, or memory is missing.
 */
static PyObject *
ask(Series *series, const char *method, PyObject *argument)
{
    PyObject *name = PyUnicode_InternFromString(method);
    if (name == NULL) {
        forgive();
        return NULL;
    }
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

/* --- Stand: what stands in for a generator or coroutine, and sees when it begins and ends --- */

typedef struct {
    PyObject_HEAD
    PyObject *inner;
    PyObject *weakrefs;
    Series *series; /* that counts it; else the Work that measures it */
    PyObject *work;
    uint64_t began, epoch;
    uint64_t rested; /* when its last step ended, where somebody asks for steps */
    Parts parts;
    unsigned slot;
    bool steps;   /* whether the work wants to know of each step */
    bool started; /* it has begun to run, */
    bool running; /* it does now, */
    bool over;    /* or it will no more, and has been counted */
} Stand;

static PyTypeObject *generator_type, *coroutine_type, *iterator_type;
/* What these answer themselves; all else the object behind them does. */
static PyObject *own_names;

static int
call_work(Stand *stand, const char *method)
{
    PyObject *answer = PyObject_CallMethod(stand->work, method, NULL);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

static int
resume_work(Stand *stand)
{
    if (call_work(stand, "resume") < 0) {
        return -1;
    }
    if (!stand->started) {
        PyObject *started = PyObject_GetAttrString(stand->work, "started");
        if (started == NULL) {
            return -1;
        }
        stand->started = started == Py_True;
        Py_DECREF(started);
    }
    return 0;
}

/* It is about to run, perhaps for the first time. Returns -1 with an exception set. */
static inline int
stand_resume(Stand *stand)
{
    if (stand->started && !stand->steps) {
        return 0;
    }
    if (stand->work != NULL) {
        return resume_work(stand);
    }
    if (stand->over) {
        return 0;
    }
    Series *series = stand->series;
    if (series->words == NULL && series_begin(series) < 0) {
        return -1;
    }
    stand->started = true;
    stand->over = series->words == NULL;
    stand->epoch = series->epoch;
    if (!stand->over) {
        parts_begin(&stand->parts, series);
    }
    stand->began = now();
    if (series->inflight && !stand->over) {
        stand->slot = series_enter(series, stand->began);
    }
    return 0;
}

/* A step begins, and has ended. */
static inline void
stand_runs(Stand *stand)
{
    stand->running = true;
    if (has_parts(&stand->parts)) {
        parts_resume(&stand->parts, stand->series, now());
    }
}

static inline void
stand_rests(Stand *stand)
{
    stand->running = false;
    if (has_parts(&stand->parts)) {
        stand->rested = now();
        parts_pause(&stand->parts, stand->series, stand->rested);
    }
}

/* It has not ended with that step. */
static inline void
stand_pauses(Stand *stand)
{
    if (stand->parts.stretches != NULL) {
        stand->parts.stretches->pauses++;
    }
}

/* It has ended, by an exception of that class or without one; with its last step, or in between.
 * Returns -1 with an exception set.
 */
static int
stand_end(Stand *stand, PyTypeObject *raised, bool stepped)
{
    Series *series = stand->series;
    bool counts = stand->started && !stand->over && series->epoch == stand->epoch;
    stand->over = true;
    if (!counts) {
        return 0;
    }
    const bool timed = stepped && has_parts(&stand->parts);
    const uint64_t elapsed = between(stand->began, timed ? stand->rested : now());
    if (series->inflight) {
        series_leave(series, stand->slot, stand->began);
    }
    if (stand->parts.frame != NULL && stand->parts.stretches != NULL) {
        stand->parts.frame->ran = stand->parts.stretches->running; /* not what others ran meanwhile */
    }
    if (series_count_call(series, &stand->parts, elapsed) < 0) {
        return -1;
    }
    if (raised != NULL && series->epoch == stand->epoch) {
        return count_failure(series, raised);
    }
    return 0;
}

/* Whether it will run no more. No exception is to be set. */
static bool
is_over(Stand *stand)
{
    const char *name = PyGen_CheckExact(stand->inner) ? "gi_frame" : "cr_frame";
    PyObject *frame = PyObject_GetAttrString(stand->inner, name);
    Py_XDECREF(frame);
    return frame == Py_None;
}

static int
tell_stopped(Stand *stand, PyObject *error)
{
    PyObject *answer = PyObject_CallMethod(stand->work, "stopped", "O", error);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* A step has raised what is set now, and stays so; `surely` if it is over then. */
static void
stand_raised(Stand *stand, bool surely)
{
    Aside aside = put_aside_raised();
    PyObject *error = value_of(aside);
    int status = 0;
    if (stand->work != NULL) {
        PyObject *before = handle(error);
        status = tell_stopped(stand, error);
        handle_again(before);
    }
    else if (surely || is_over(stand)) {
        bool returned = PyErr_GivenExceptionMatches(error, PyExc_StopIteration);
        status = stand_end(stand, returned ? NULL : Py_TYPE(error), true);
    }
    else {
        stand_pauses(stand);
    }
    if (status < 0) {
        replace(aside);
    }
    else {
        put_back(aside);
    }
}

static PyObject *
stop_iteration(PyObject *value)
{
    return PyObject_CallFunctionObjArgs(PyExc_StopIteration, value == Py_None ? NULL : value, NULL);
}

/* A step has come to the end, and returned `value`. Returns -1 with an exception set. */
static int
stand_returned(Stand *stand, PyObject *value)
{
    if (stand->work == NULL) {
        return stand_end(stand, NULL, true);
    }
    PyObject *error = stop_iteration(value);
    int status = error == NULL ? -1 : tell_stopped(stand, error);
    Py_XDECREF(error);
    return status;
}

static PySendResult
stand_send(Stand *stand, PyObject *value, PyObject **result)
{
    if (stand->running) { /* it is refused */
        return PyIter_Send(stand->inner, value, result);
    }
    if ((value == Py_None || stand->started) && stand_resume(stand) < 0) {
        *result = NULL;
        return PYGEN_ERROR;
    }
    Py_INCREF(stand);
    const bool begun = stand->started;
    stand_runs(stand);
    PySendResult sent = PyIter_Send(stand->inner, value, result);
    stand_rests(stand);
    int status = 0;
    if (sent == PYGEN_ERROR) {
        stand_raised(stand, begun);
    }
    else if (sent == PYGEN_RETURN) {
        status = stand_returned(stand, *result);
    }
    else if (stand->steps) {
        status = call_work(stand, "pause");
    }
    else {
        stand_pauses(stand);
    }
    if (status < 0) {
        Py_CLEAR(*result);
        sent = PYGEN_ERROR;
    }
    Py_DECREF(stand);
    return sent;
}

/* What `send` returns, or raises at the end; where an iterator may, without the exception. */
static PyObject *
sent_value(Stand *stand, PyObject *value, bool may_be_silent)
{
    PyObject *result;
    if (stand_send(stand, value, &result) != PYGEN_RETURN) {
        return result;
    }
    if (result != Py_None || !may_be_silent) {
        PyObject *stop = stop_iteration(result);
        if (stop != NULL) {
            PyErr_SetObject(PyExc_StopIteration, stop);
            Py_DECREF(stop);
        }
    }
    Py_DECREF(result);
    return NULL;
}

/* Call a method of the inner one, which may end it. */
static PyObject *
stand_stop(Stand *stand, const char *method, PyObject *args)
{
    const bool refused = stand->running;
    Py_INCREF(stand);
    PyObject *result = NULL, *bound = PyObject_GetAttrString(stand->inner, method);
    if (bound != NULL) {
        if (!refused) {
            stand_runs(stand);
        }
        result = PyObject_CallObject(bound, args);
        if (!refused) {
            stand_rests(stand);
        }
        Py_DECREF(bound);
    }
    if (result == NULL && !refused) {
        stand_raised(stand, false);
    }
    Py_DECREF(stand);
    return result;
}

static PyObject *
stand_throw(Stand *stand, PyObject *args)
{
    const bool refused = stand->running;
    if (!refused && stand->started && stand_resume(stand) < 0) {
        return NULL;
    }
    PyObject *result = stand_stop(stand, "throw", args);
    if (result == NULL || refused) {
        return result;
    }
    stand_pauses(stand);
    if (stand->steps && call_work(stand, "pause") < 0) {
        Py_CLEAR(result);
    }
    return result;
}

static PyObject *
stand_close(Stand *stand)
{
    const bool refused = stand->running;
    if (!refused && stand->steps && stand->started && stand_resume(stand) < 0) {
        return NULL;
    }
    PyObject *result = stand_stop(stand, "close", NULL);
    if (result == NULL || refused) {
        return result;
    }
    int status = 0;
    if (stand->work != NULL) {
        status = call_work(stand, "closed");
    }
    else if (is_over(stand)) {
        status = stand_end(stand, (PyTypeObject *)PyExc_GeneratorExit, true);
    }
    if (status < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* Nobody holds it any more. (A work sees to that itself.) */
static void
stand_finalize(PyObject *self)
{
    Stand *stand = (Stand *)self;
    if (stand->series == NULL || !stand->started || stand->over) {
        return;
    }
    const bool raised = PyErr_Occurred() != NULL;
    Aside aside;
    if (raised) {
        aside = put_aside();
    }
    if (stand_end(stand, (PyTypeObject *)PyExc_GeneratorExit, false) < 0) {
        PyErr_WriteUnraisable(self);
    }
    if (raised) {
        put_back(aside);
    }
}

static int
stand_traverse(PyObject *self, visitproc visit, void *arg)
{
    Stand *stand = (Stand *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(stand->inner);
    Py_VISIT((PyObject *)stand->series);
    Py_VISIT(stand->work);
    return 0;
}

static void
stand_dealloc(PyObject *self)
{
    Stand *stand = (Stand *)self;
    if (PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (stand->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    parts_end(&stand->parts);
    Py_XDECREF(stand->work);
    Py_XDECREF(stand->inner);
    Py_XDECREF(stand->series);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
new_stand(PyTypeObject *type, PyObject *inner, Series *series, PyObject *work, bool steps)
{
    Stand *stand = (Stand *)type->tp_alloc(type, 0);
    if (stand == NULL) {
        return NULL;
    }
    stand->inner = Py_NewRef(inner);
    stand->series = (Series *)Py_XNewRef((PyObject *)series);
    stand->work = Py_XNewRef(work);
    stand->steps = steps;
    return (PyObject *)stand;
}

static PyObject *
inner_getattr(PyObject *self, PyObject *inner, PyObject *name)
{
    int own = PySet_Contains(own_names, name);
    if (own < 0) {
        return NULL;
    }
    if (own) {
        PyObject *found = PyObject_GenericGetAttr(self, name);
        if (found != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return found;
        }
        PyErr_Clear();
    }
    return PyObject_GetAttr(inner, name);
}

static PyObject *
stand_getattro(PyObject *self, PyObject *name)
{
    return inner_getattr(self, ((Stand *)self)->inner, name);
}

static int
stand_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    return PyObject_SetAttr(((Stand *)self)->inner, name, value);
}

static PyObject *
stand_repr(PyObject *self)
{
    return PyObject_Repr(((Stand *)self)->inner);
}

static PySendResult
stand_am_send(PyObject *self, PyObject *value, PyObject **result)
{
    return stand_send((Stand *)self, value, result);
}

static PyObject *
stand_iternext(PyObject *self)
{
    return sent_value((Stand *)self, Py_None, true);
}

static PyObject *
stand_send_method(PyObject *self, PyObject *value)
{
    return sent_value((Stand *)self, value, false);
}

static PyObject *
stand_throw_method(PyObject *self, PyObject *args)
{
    return stand_throw((Stand *)self, args);
}

static PyObject *
stand_close_method(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return stand_close((Stand *)self);
}

/* What an `await` of a coroutine steps through. */
typedef struct {
    PyObject_HEAD
    Stand *stand;
} Iterator;

static PyObject *
stand_await(PyObject *self)
{
    Stand *stand = (Stand *)self;
    if (stand->started) { /* else it cannot be waiting for anything yet */
        PyObject *waits_for = PyObject_GetAttrString(stand->inner, "cr_await");
        if (waits_for == NULL) {
            return NULL;
        }
        Py_DECREF(waits_for);
        if (waits_for != Py_None) {
            PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
            return NULL;
        }
    }
    Iterator *iterator = (Iterator *)iterator_type->tp_alloc(iterator_type, 0);
    if (iterator != NULL) {
        iterator->stand = (Stand *)Py_NewRef(self);
    }
    return (PyObject *)iterator;
}

static int
iterator_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)((Iterator *)self)->stand);
    return 0;
}

static void
iterator_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(((Iterator *)self)->stand);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
iterator_getattro(PyObject *self, PyObject *name)
{
    return inner_getattr(self, ((Iterator *)self)->stand->inner, name);
}

static PyObject *
iterator_repr(PyObject *self)
{
    return PyObject_Repr(((Iterator *)self)->stand->inner);
}

static PySendResult
iterator_am_send(PyObject *self, PyObject *value, PyObject **result)
{
    return stand_send(((Iterator *)self)->stand, value, result);
}

static PyObject *
iterator_iternext(PyObject *self)
{
    return sent_value(((Iterator *)self)->stand, Py_None, true);
}

static PyObject *
iterator_send_method(PyObject *self, PyObject *value)
{
    return sent_value(((Iterator *)self)->stand, value, false);
}

static PyObject *
iterator_throw_method(PyObject *self, PyObject *args)
{
    return stand_throw(((Iterator *)self)->stand, args);
}

static PyObject *
iterator_close_method(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return stand_close(((Iterator *)self)->stand);
}

static PyMethodDef stand_methods[] = {
    {"send", stand_send_method, METH_O, NULL},
    {"throw", stand_throw_method, METH_VARARGS, NULL},
    {"close", stand_close_method, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef iterator_methods[] = {
    {"send", iterator_send_method, METH_O, NULL},
    {"throw", iterator_throw_method, METH_VARARGS, NULL},
    {"close", iterator_close_method, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef stand_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Stand, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* clang-format off */
#define STAND_SLOTS \
    {Py_tp_traverse, stand_traverse}, \
    {Py_tp_dealloc, stand_dealloc}, \
    {Py_tp_finalize, stand_finalize}, \
    {Py_tp_getattro, stand_getattro}, \
    {Py_tp_setattro, stand_setattro}, \
    {Py_tp_repr, stand_repr}, \
    {Py_tp_methods, stand_methods}, \
    {Py_tp_members, stand_members}, \
    {Py_am_send, stand_am_send}
/* clang-format on */

static PyType_Slot generator_slots[] = {
    STAND_SLOTS,
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, stand_iternext},
    {0, NULL},
};

static PyType_Slot coroutine_slots[] = {
    STAND_SLOTS,
    {Py_am_await, stand_await},
    {0, NULL},
};

static PyType_Slot iterator_slots[] = {
    {Py_tp_traverse, iterator_traverse},
    {Py_tp_dealloc, iterator_dealloc},
    {Py_tp_getattro, iterator_getattro},
    {Py_tp_repr, iterator_repr},
    {Py_tp_methods, iterator_methods},
    {Py_am_send, iterator_am_send},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, iterator_iternext},
    {0, NULL},
};

enum {
    STAND_FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                  Py_TPFLAGS_DISALLOW_INSTANTIATION
};

static PyType_Spec generator_spec = {
    .name = "builtins.generator",
    .basicsize = sizeof(Stand),
    .flags = STAND_FLAGS,
    .slots = generator_slots,
};

static PyType_Spec coroutine_spec = {
    .name = "builtins.coroutine",
    .basicsize = sizeof(Stand),
    .flags = STAND_FLAGS,
    .slots = coroutine_slots,
};

static PyType_Spec iterator_spec = {
    .name = "builtins.coroutine",
    .basicsize = sizeof(Iterator),
    .flags = STAND_FLAGS,
    .slots = iterator_slots,
};

static int
make_stand_types(PyObject *module)
{
    static const char *const names[] = {
        "send", "throw", "close", "__next__", "__iter__", "__await__", "__del__", "__repr__",
    };
    own_names = PyFrozenSet_New(NULL);
    for (size_t place = 0; own_names != NULL && place < sizeof names / sizeof *names; place++) {
        PyObject *name = PyUnicode_InternFromString(names[place]);
        int status = name == NULL ? -1 : PySet_Add(own_names, name);
        Py_XDECREF(name);
        if (status < 0) {
            return -1;
        }
    }
    generator_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &generator_spec, NULL);
    coroutine_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &coroutine_spec, NULL);
    iterator_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &iterator_spec, NULL);
    return own_names && generator_type && coroutine_type && iterator_type ? 0 : -1;
}

/* The type that stands in for such an object; NULL where Python code has to do that. */
static PyTypeObject *
stand_type(PyObject *made)
{
    if (PyCoro_CheckExact(made)) {
        return coroutine_type;
    }
    if (!PyGen_CheckExact(made)) {
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030C0000
    PyCodeObject *code = PyGen_GetCode((PyGenObject *)made);
    int flags = code->co_flags;
    Py_DECREF(code);
#else
    int flags = ((PyCodeObject *)((PyGenObject *)made)->gi_code)->co_flags;
#endif
    return flags & CO_ITERABLE_COROUTINE ? NULL : generator_type; /* that can be awaited as well */
}

/* --- Probe: wrapt's proxy, with this behind its own fields --- */

static void probe_dealloc(PyObject *self);

typedef struct {
    vectorcallfunc call;
    PyObject *function;
    PyObject *recorder;
    Series *series;          /* that counts the calls; else, of a measurement, its methods */
    PyObject *enter, *leave; /* or, of steps, what makes a stand-in, and what makes a work */
    bool steps;
} Probe;

static Py_ssize_t probe_offset; /* the size of wrapt's proxies; 0 until that is known */

static inline Probe *
probe_of(PyObject *self)
{
    return (Probe *)((char *)self + probe_offset);
}

/* Call it as PyObject_Vectorcall does, which looks for more than a function of Python's has. */
static inline PyObject *
call_function(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *names)
{
    if (Py_IS_TYPE(function, &PyFunction_Type)) {
        return ((PyFunctionObject *)function)->vectorcall(function, args, nargsf, names);
    }
    return PyObject_Vectorcall(function, args, nargsf, names);
}

static PyObject *
passed_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    PyObject *function = Py_NewRef(probe_of(self)->function);
    PyObject *result = call_function(function, args, nargsf, names);
    Py_DECREF(function);
    return result;
}

/* Take up the news. If there were any the call has been done, as it is measured now: `result`. */
static bool
done_with_news(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names,
               PyObject **result)
{
    Py_INCREF(self);
    int taken = take_news();
    *result = taken > 0 ? probe_of(self)->call(self, args, nargsf, names) : NULL;
    Py_DECREF(self);
    return taken != 0;
}

static PyObject *
counted_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    PyObject *result;
    if (has_news() && done_with_news(self, args, nargsf, names, &result)) {
        return result;
    }
    Probe *probe = probe_of(self);
    Series *series = probe->series;
    if (series->words == NULL && series_begin(series) < 0) {
        return NULL;
    }
    if (series->words == NULL) {
        return passed_call(self, args, nargsf, names);
    }
    Py_INCREF(self);
    Py_INCREF(series); /* the probe may have another when the call ends */
    const uint64_t epoch = series->epoch;
    unsigned slot = 0;
    Parts parts;
    parts_begin(&parts, series);
    const uint64_t start = now();
    if (has_parts(&parts)) {
        parts_resume(&parts, series, start);
    }
    if (series->inflight) {
        slot = series_enter(series, start);
    }
    result = call_function(probe->function, args, nargsf, names);
    const uint64_t elapsed = since(start);
    if (has_parts(&parts)) {
        parts_pause(&parts, series, start + elapsed);
    }
    /* After a fork inside the call it is the parent's to count. */
    if (series->epoch == epoch) {
        if (series->inflight) {
            series_leave(series, slot, start);
        }
        if (result == NULL) {
            series_fail(series, &parts, elapsed);
        }
        else if (series_count_call(series, &parts, elapsed) < 0) {
            Py_CLEAR(result);
        }
    }
    parts_end(&parts);
    Py_DECREF(series);
    Py_DECREF(self);
    return result;
}

/* Call the measurement's `leave`. Returns -1 with an exception set.
 *
 * That is one which a signal handler of the program has raised in it: it is called again, and goes
 * on where it was.
 */
static int
call_leave(PyObject *leave, PyObject *call, uint64_t elapsed, PyObject *result, PyObject *error)
{
    PyObject *took = PyLong_FromUnsignedLongLong(elapsed);
    if (took == NULL) { /* once more: without this it would seem to run for ever */
        forgive();
        took = PyLong_FromUnsignedLongLong(elapsed);
    }
    if (took == NULL) {
        forgive();
        return 0;
    }
    PyObject *args[] = {NULL, call, took, result, error};
    const size_t count = 4 | PY_VECTORCALL_ARGUMENTS_OFFSET;
    PyObject *left = PyObject_Vectorcall(leave, args + 1, count, NULL);
    int status = 0;
    if (left == NULL) {
        forgive();
        status = PyErr_Occurred() ? -1 : 0;
        Aside aside = put_aside();
        left = PyObject_Vectorcall(leave, args + 1, count, NULL);
        if (left == NULL) {
            PyErr_Clear();
        }
        put_back(aside);
    }
    Py_XDECREF(left);
    Py_DECREF(took);
    return status;
}

/* The call that `enter` has returned `call` for, whose reference this takes, has ended.
 *
 * `result` is NULL if it has raised what is set now. Returns the result, or NULL with an exception
 * set.
 */
static PyObject *
leave_with(PyObject *leave, PyObject *call, uint64_t elapsed, PyObject *result)
{
    if (result != NULL) {
        if (call_leave(leave, call, elapsed, result, Py_None) < 0) {
            Py_CLEAR(result);
        }
        Py_DECREF(call);
        return result;
    }
    Aside aside = put_aside_raised();
    PyObject *before = handle(value_of(aside));
    int status = call_leave(leave, call, elapsed, Py_None, value_of(aside));
    handle_again(before);
    if (status < 0) {
        replace(aside);
    }
    else {
        put_back(aside);
    }
    Py_DECREF(call);
    return NULL;
}

/* The arguments as Python code takes them: a tuple and a dict. Returns -1 with an exception set. */
static int
collect(PyObject *const *args, size_t nargsf, PyObject *names, PyObject **tuple, PyObject **dict)
{
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    *tuple = PyTuple_New(count);
    *dict = PyDict_New();
    if (*tuple == NULL || *dict == NULL) {
        goto fail;
    }
    for (Py_ssize_t place = 0; place < count; place++) {
        PyTuple_SET_ITEM(*tuple, place, Py_NewRef(args[place]));
    }
    for (Py_ssize_t place = 0; names != NULL && place < PyTuple_GET_SIZE(names); place++) {
        if (PyDict_SetItem(*dict, PyTuple_GET_ITEM(names, place), args[count + place]) < 0) {
            goto fail;
        }
    }
    return 0;
fail:
    Py_CLEAR(*tuple);
    Py_CLEAR(*dict);
    return -1;
}

static PyObject *
enter_with(PyObject *enter, PyObject *tuple, PyObject *dict)
{
    PyObject *args[] = {NULL, tuple, dict};
    return PyObject_Vectorcall(enter, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static PyObject *
measured_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    PyObject *result;
    if (has_news() && done_with_news(self, args, nargsf, names, &result)) {
        return result;
    }
    Probe *probe = probe_of(self);
    PyObject *tuple, *dict;
    if (collect(args, nargsf, names, &tuple, &dict) < 0) {
        forgive();
        return PyErr_Occurred() ? NULL : passed_call(self, args, nargsf, names);
    }
    Py_INCREF(self);
    result = NULL;
    PyObject *enter = Py_NewRef(probe->enter), *leave = Py_NewRef(probe->leave);
    PyObject *call = enter_with(enter, tuple, dict);
    if (call == NULL) {
        forgive();
        result = PyErr_Occurred() ? NULL : call_function(probe->function, args, nargsf, names);
    }
    else {
        uint64_t start = now();
        result = call_function(probe->function, args, nargsf, names);
        result = leave_with(leave, call, since(start), result);
    }
    Py_DECREF(enter);
    Py_DECREF(leave);
    Py_DECREF(tuple);
    Py_DECREF(dict);
    Py_DECREF(self);
    return result;
}

/* A call that makes a generator or coroutine, which is what is measured. */
static PyObject *
stepped_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    PyObject *stand = NULL, *tuple, *dict;
    if (has_news() && done_with_news(self, args, nargsf, names, &stand)) {
        return stand;
    }
    Probe *probe = probe_of(self);
    Py_INCREF(self);
    PyObject *made = call_function(probe->function, args, nargsf, names);
    PyTypeObject *type = made == NULL ? NULL : stand_type(made);
    if (made != NULL && probe->call != stepped_call) { /* it is not measured so any more */
        Py_DECREF(self);
        return made;
    }
    if (type != NULL && probe->series != NULL) {
        stand = new_stand(type, made, probe->series, NULL, false);
    }
    else if (made != NULL && collect(args, nargsf, names, &tuple, &dict) == 0) {
        PyObject *make = type == NULL ? probe->enter : probe->leave;
        bool steps = probe->steps; /* both of one measurement */
        stand = PyObject_CallFunctionObjArgs(make, made, tuple, dict, NULL);
        if (type != NULL && stand != NULL) {
            PyObject *work = stand;
            stand = new_stand(type, made, NULL, work, steps);
            Py_DECREF(work);
        }
        Py_DECREF(tuple);
        Py_DECREF(dict);
    }
    if (made != NULL && stand == NULL) {
        forgive();
        stand = PyErr_Occurred() ? NULL : Py_NewRef(made); /* it runs all the same */
    }
    Py_XDECREF(made);
    Py_DECREF(self);
    return stand;
}

/* The type of wrapt's that the type of the probe is derived from. */
static PyTypeObject *
proxy_of(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    while (type->tp_dealloc != probe_dealloc) {
        type = type->tp_base;
    }
    return type->tp_base;
}

static int
probe_traverse(PyObject *self, visitproc visit, void *arg)
{
    Probe *probe = probe_of(self);
    Py_VISIT(probe->function);
    Py_VISIT(probe->recorder);
    Py_VISIT((PyObject *)probe->series);
    Py_VISIT(probe->enter);
    Py_VISIT(probe->leave);
    PyTypeObject *proxy = proxy_of(self);
    if (!PyType_HasFeature(proxy, Py_TPFLAGS_HEAPTYPE)) { /* else it does that itself */
        Py_VISIT(Py_TYPE(self));
    }
    return proxy->tp_traverse(self, visit, arg);
}

static int
probe_clear(PyObject *self)
{
    Probe *probe = probe_of(self);
    probe->call = NULL;
    Py_CLEAR(probe->function);
    Py_CLEAR(probe->recorder);
    Py_CLEAR(probe->series);
    Py_CLEAR(probe->enter);
    Py_CLEAR(probe->leave);
    return proxy_of(self)->tp_clear(self);
}

static void
probe_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self), *proxy = proxy_of(self);
    Probe *probe = probe_of(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(probe->function);
    Py_XDECREF(probe->recorder);
    Py_XDECREF(probe->series);
    Py_XDECREF(probe->enter);
    Py_XDECREF(probe->leave);
    proxy->tp_dealloc(self);
    if (!PyType_HasFeature(proxy, Py_TPFLAGS_HEAPTYPE)) { /* else it does that itself */
        Py_DECREF(type);
    }
}

static PyObject *
probe_bind(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(owner))
{
    if (instance == NULL || instance == Py_None) {
        return Py_NewRef(self);
    }
    return PyMethod_New(self, instance);
}

/* What a probe answers itself; all else its function does. */
static const char *const OWN[] = {
    "__call__", "__deepcopy__", "__get__", "__reduce_ex__", "__wrapped__",
};

static PyObject *
probe_getattro(PyObject *self, PyObject *name)
{
    PyObject *function = probe_of(self)->function;
    if (function == NULL) { /* it is about to be initialised */
        return PyObject_GenericGetAttr(self, name);
    }
    for (size_t place = 0; place < sizeof OWN / sizeof *OWN; place++) {
        if (PyUnicode_CompareWithASCIIString(name, OWN[place]) == 0) {
            return PyObject_GenericGetAttr(self, name);
        }
    }
    return PyObject_GetAttr(function, name);
}

static int
probe_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    PyObject *function = probe_of(self)->function;
    if (function == NULL) {
        return PyObject_GenericSetAttr(self, name, value);
    }
    return PyObject_SetAttr(function, name, value);
}

static PyObject *
probe_get_tach(PyObject *self, void *Py_UNUSED(closure))
{
    Probe *probe = probe_of(self);
    return PyTuple_Pack(2, probe->function, probe->recorder);
}

static PyObject *
probe_get_wrapped(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(probe_of(self)->function);
}

static PyGetSetDef probe_getset[] = {
    {"_tach", probe_get_tach, NULL, NULL, NULL},
    {"__wrapped__", probe_get_wrapped, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* A base of probes, derived from wrapt's type, whose size is known at run time only. */
static PyObject *
make_probe_type(PyTypeObject *proxy, bool binds)
{
    PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET, probe_offset + (Py_ssize_t)offsetof(Probe, call),
         READONLY, NULL},
        {NULL, 0, 0, 0, NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_call, PyVectorcall_Call},
        {Py_tp_traverse, probe_traverse},
        {Py_tp_clear, probe_clear},
        {Py_tp_dealloc, probe_dealloc},
        {Py_tp_getattro, probe_getattro},
        {Py_tp_setattro, probe_setattro},
        {Py_tp_getset, probe_getset},
        {Py_tp_members, members},
        {binds ? Py_tp_descr_get : 0, binds ? (void *)probe_bind : NULL},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "tach.agent._probe.Probe",
        .basicsize = (int)(probe_offset + (Py_ssize_t)sizeof(Probe)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
                 Py_TPFLAGS_HAVE_VECTORCALL,
        .slots = slots,
    };
    PyObject *bases = PyTuple_Pack(1, proxy);
    if (bases == NULL) {
        return NULL;
    }
    PyObject *type = PyType_FromSpecWithBases(&spec, bases);
    Py_DECREF(bases);
    return type;
}

static bool
can_derive_from(PyTypeObject *proxy)
{
    return Py_IS_TYPE(proxy, &PyType_Type) && proxy->tp_itemsize == 0 &&
           PyType_HasFeature(proxy, Py_TPFLAGS_BASETYPE) &&
           PyType_HasFeature(proxy, Py_TPFLAGS_HAVE_GC) && proxy->tp_traverse != NULL &&
           proxy->tp_clear != NULL && (probe_offset == 0 || probe_offset == proxy->tp_basicsize);
}

/* --- Watch: what a greenthread, in which a call runs, has been switched out for --- */

typedef struct {
    PyObject_HEAD
    Watching watching;
} Watch;

static PyTypeObject *watch_type, *switch_type;

static PyObject *
watch_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *greenlet;
    int cpu, stretches;
    if (!PyArg_ParseTuple(args, "Opp:Watch", &greenlet, &cpu, &stretches)) {
        return NULL;
    }
    Watch *watch = (Watch *)type->tp_alloc(type, 0);
    if (watch != NULL && !watching_begin(&watch->watching, greenlet, cpu, stretches, now())) {
        Py_DECREF(watch);
        return PyErr_NoMemory();
    }
    return (PyObject *)watch;
}

static PyObject *
watch_end(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    watching_end(&((Watch *)self)->watching, now());
    Py_RETURN_NONE;
}

static void
watch_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    watching_end(&((Watch *)self)->watching, now()); /* where nothing else could end it */
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef watch_methods[] = {
    {"end", watch_end, METH_NOARGS, PyDoc_STR("It is over: its numbers can be read.")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef watch_members[] = {
    {"out", T_ULONGLONG, offsetof(Watch, watching.out), READONLY, NULL},
    {"pauses", T_ULONGLONG, offsetof(Watch, watching.pauses), READONLY, NULL},
    {"cpu", T_ULONGLONG, offsetof(Watch, watching.cpu), READONLY, NULL},
    {"longest", T_ULONGLONG, offsetof(Watch, watching.longest), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot watch_slots[] = {
    {Py_tp_doc, "Watches a greenlet from now until its end: Watch(greenlet, cpu, stretches)."},
    {Py_tp_new, watch_new},
    {Py_tp_dealloc, watch_dealloc},
    {Py_tp_methods, watch_methods},
    {Py_tp_members, watch_members},
    {0, NULL},
};

static PyType_Spec watch_spec = {
    .name = "tach.agent._probe.Watch",
    .basicsize = sizeof(Watch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = watch_slots,
};

/* --- Switch: what goes in the place of a hub's `switch`, by which greenthreads yield --- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *function; /* the hub's */
} Switch;

static PyObject *
watched_switch(Switches *switches, PyObject *function, PyObject *const *args, size_t nargsf,
               PyObject *names)
{
    const uint64_t left = now();
    const uint64_t left_cpu = switches->with_cpu ? thread_time() : 0;
    switches->users++;
    switches->pauses++;
    for (Watching *each = switches->stretches; each != NULL; each = each->after) {
        end_stretch(each, left);
    }
    PyObject *result = PyObject_Vectorcall(function, args, nargsf, names);
    if (left_cpu != 0) {
        switches->cpu += thread_time() - left_cpu;
    }
    switches->resumed = now();
    switches->out += between(left, switches->resumed);
    drop_switches(switches);
    return result;
}

static PyObject *
switch_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Switches *switches = NULL;
    if (watched != 0 && has_greenlets()) {
        PyObject *greenlet = current_greenlet();
        if (greenlet == NULL) {
            return NULL;
        }
        switches = find_switches(greenlet);
    }
    PyObject *function = Py_NewRef(((Switch *)self)->function);
    PyObject *result;
    if (switches == NULL) {
        result = PyObject_Vectorcall(function, args, nargsf, names);
    }
    else {
        result = watched_switch(switches, function, args, nargsf, names);
    }
    Py_DECREF(function);
    return result;
}

static PyObject *
switch_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *function;
    if (!PyArg_ParseTuple(args, "O:Switch", &function)) {
        return NULL;
    }
    Switch *made = (Switch *)type->tp_alloc(type, 0);
    if (made != NULL) {
        made->call = switch_call;
        made->function = Py_NewRef(function);
        hubs = true;
    }
    return (PyObject *)made;
}

static int
switch_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Switch *)self)->function);
    return 0;
}

static void
switch_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(((Switch *)self)->function);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
switch_bind(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(owner))
{
    if (instance == NULL || instance == Py_None) {
        return Py_NewRef(self);
    }
    return PyMethod_New(self, instance);
}

/* It looks like the hub's own, but tells of it too: for whoever asks for its source. */
static PyObject *
switch_getattro(PyObject *self, PyObject *name)
{
    PyObject *function = ((Switch *)self)->function;
    if (PyUnicode_CompareWithASCIIString(name, "__wrapped__") == 0) {
        return Py_NewRef(function);
    }
    if (PyUnicode_CompareWithASCIIString(name, "__get__") == 0) {
        return PyObject_GenericGetAttr(self, name);
    }
    return PyObject_GetAttr(function, name);
}

static PyObject *
switch_repr(PyObject *self)
{
    return PyObject_Repr(((Switch *)self)->function);
}

static PyMemberDef switch_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Switch, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot switch_slots[] = {
    {Py_tp_new, switch_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, switch_traverse},
    {Py_tp_dealloc, switch_dealloc},
    {Py_tp_descr_get, switch_bind},
    {Py_tp_getattro, switch_getattro},
    {Py_tp_repr, switch_repr},
    {Py_tp_members, switch_members},
    {0, NULL},
};

static PyType_Spec switch_spec = {
    .name = "tach.agent._probe.Switch",
    .basicsize = sizeof(Switch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = switch_slots,
};

static PyObject *
watched_greenlets(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(watched);
}

/* In a forked child: what runs in it is the parent's to measure. */
static PyObject *
forget_greenlets(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    unlist_all();
    Py_RETURN_NONE;
}

/* --- The module --- */

static PyObject *
read_now(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(now());
}

static PyObject *
probe_types(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *proxy;
    if (!PyArg_ParseTuple(args, "O!:probe_types", &PyType_Type, &proxy)) {
        return NULL;
    }
    if (!can_derive_from(proxy)) {
        PyErr_SetString(PyExc_TypeError, "not the proxy type of wrapt's extension module");
        return NULL;
    }
    probe_offset = proxy->tp_basicsize;
    PyObject *types = PyTuple_New(2);
    for (int binds = 0; types != NULL && binds < 2; binds++) {
        PyObject *type = make_probe_type(proxy, binds);
        if (type == NULL) {
            Py_CLEAR(types);
            break;
        }
        PyTuple_SET_ITEM(types, binds, type);
    }
    return types;
}

static bool
is_probe_type(PyTypeObject *type)
{
    while (type != NULL && type->tp_dealloc != probe_dealloc) {
        type = type->tp_base;
    }
    return type != NULL;
}

/* The function itself, a new reference, where the program has a probe. */
static PyObject *
unprobed_function(PyObject *found)
{
    while (is_probe_type(Py_TYPE(found))) {
        found = probe_of(found)->function;
    }
    return Py_NewRef(found);
}

/* Give a class that Python has derived from one of these what such classes do not inherit. */
static PyObject *
finish(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *call;
    if (!PyArg_ParseTuple(args, "O!O:finish", &PyType_Type, &type, &call)) {
        return NULL;
    }
    if (!is_probe_type(type) || type->tp_call != PyVectorcall_Call) {
        PyErr_SetString(PyExc_TypeError, "not a type of probes");
        return NULL;
    }
    type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    if (type->tp_descr_get == probe_bind) { /* a call of a method needs no object for it */
        type->tp_flags |= Py_TPFLAGS_METHOD_DESCRIPTOR;
    }
    /* past the class's slots: only who looks for the method is to find it */
    if (call != Py_None && PyDict_SetItemString(type->tp_dict, "__call__", call) < 0) {
        return NULL;
    }
    PyType_Modified(type);
    Py_RETURN_NONE;
}

/* A probe of a class that is derived from those, without what its calls need. */
static PyObject *
new_probe(PyTypeObject *type, PyObject *function, PyObject *recorder)
{
    if (!is_probe_type(type)) {
        PyErr_SetString(PyExc_TypeError, "not a type of probes");
        return NULL;
    }
    PyObject *self = PyObject_CallOneArg((PyObject *)type, function);
    if (self != NULL) {
        probe_of(self)->function = Py_NewRef(function);
        probe_of(self)->recorder = Py_NewRef(recorder);
    }
    return self;
}

static PyObject *
counting_probe(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *function, *recorder, *series;
    if (!PyArg_ParseTuple(args, "O!OOO!:counting_probe", &PyType_Type, &type, &function, &recorder,
                          series_type, &series)) {
        return NULL;
    }
    PyObject *self = new_probe(type, function, recorder);
    if (self != NULL) {
        probe_of(self)->series = (Series *)Py_NewRef(series);
        probe_of(self)->call = counted_call;
    }
    return self;
}

static PyObject *
measuring_probe(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *function, *recorder, *enter, *leave;
    if (!PyArg_ParseTuple(args, "O!OOOO:measuring_probe", &PyType_Type, &type, &function, &recorder,
                          &enter, &leave)) {
        return NULL;
    }
    PyObject *self = new_probe(type, function, recorder);
    if (self != NULL) {
        probe_of(self)->enter = Py_NewRef(enter);
        probe_of(self)->leave = Py_NewRef(leave);
        probe_of(self)->call = measured_call;
    }
    return self;
}

static PyObject *
stepping_probe(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *function, *recorder, *series, *make_stand, *make_work;
    int steps;
    if (!PyArg_ParseTuple(args, "O!OOOOOp:stepping_probe", &PyType_Type, &type, &function,
                          &recorder, &series, &make_stand, &make_work, &steps)) {
        return NULL;
    }
    if (series != Py_None && !Py_IS_TYPE(series, series_type)) {
        PyErr_SetString(PyExc_TypeError, "neither a Series nor None");
        return NULL;
    }
    PyObject *self = new_probe(type, function, recorder);
    if (self != NULL) {
        Probe *probe = probe_of(self);
        probe->series = series == Py_None ? NULL : (Series *)Py_NewRef(series);
        probe->enter = Py_NewRef(make_stand);
        probe->leave = Py_NewRef(make_work);
        probe->steps = steps;
        probe->call = stepped_call;
    }
    return self;
}

static PyObject *
disable(PyObject *Py_UNUSED(module), PyObject *probe)
{
    if (!is_probe_type(Py_TYPE(probe))) {
        PyErr_SetString(PyExc_TypeError, "not a compiled probe");
        return NULL;
    }
    probe_of(probe)->call = passed_call;
    Py_RETURN_NONE;
}

static PyObject *
become(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *self, *other;
    if (!PyArg_ParseTuple(args, "OO:become", &self, &other)) {
        return NULL;
    }
    if (!is_probe_type(Py_TYPE(self)) || !is_probe_type(Py_TYPE(other)) ||
        probe_of(self)->function != probe_of(other)->function) {
        PyErr_SetString(PyExc_TypeError, "not two compiled probes of one function");
        return NULL;
    }
    Probe old = *probe_of(self);
    *probe_of(self) = *probe_of(other);
    *probe_of(other) = old;
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"probe_types", probe_types, METH_VARARGS,
     PyDoc_STR("probe_types(proxy): derived from wrapt's proxy type, one for what does not bind\n"
               "and one that binds as functions do. Classes are to be derived from these.\n\n"
               "Raises TypeError where that cannot be done.")},
    {"finish", finish, METH_VARARGS,
     PyDoc_STR("finish(type, call): make a class of probes as fast as its base; `call` is what\n"
               "its `__call__` looks like, or None.")},
    {"counting_probe", counting_probe, METH_VARARGS,
     PyDoc_STR("counting_probe(type, function, recorder, series)")},
    {"measuring_probe", measuring_probe, METH_VARARGS,
     PyDoc_STR("measuring_probe(type, function, recorder, enter, leave)")},
    {"stepping_probe", stepping_probe, METH_VARARGS,
     PyDoc_STR("stepping_probe(type, function, recorder, series, make_stand, make_work, steps)\n\n"
               "With a series, or None; the others take (made, args, kwargs).")},
    {"disable", disable, METH_O, PyDoc_STR("Let a probe measure no more.")},
    {"now", read_now, METH_NOARGS, PyDoc_STR("now(): CLOCK_MONOTONIC as probes read it; ns.")},
    {"watched_greenlets", watched_greenlets, METH_NOARGS,
     PyDoc_STR("watched_greenlets(): in how many something is watched.")},
    {"forget_greenlets", forget_greenlets, METH_NOARGS,
     PyDoc_STR("forget_greenlets(): a forked child watches none of its parent's.")},
    {"become", become, METH_VARARGS,
     PyDoc_STR("become(probe, other): let each of two probes of one function measure as the other\n"
               "did.")},
    {"watch", watch, METH_O,
     PyDoc_STR("watch(view): where its first word is not 0 there are news for calls to take up.")},
    {"listen", listen, METH_O,
     PyDoc_STR("listen(take): that takes them up, and says whether calls are to begin anew.")},
    {NULL, NULL, 0, NULL},
};

static int
module_exec(PyObject *module)
{
    /* What is known of wrapt's type is one for the process. */
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "tach.agent._probe is for the main interpreter only");
        return -1;
    }
    clock_init();
    if (account_type == NULL && make_account_types(module) < 0) {
        return -1;
    }
    if (PyModule_AddType(module, account_type) < 0 || PyModule_AddType(module, frame_type) < 0) {
        return -1;
    }
    if (series_type == NULL) {
        series_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &series_spec, NULL);
    }
    if (series_type == NULL || PyModule_AddType(module, series_type) < 0) {
        return -1;
    }
    if (own_names == NULL && make_stand_types(module) < 0) {
        return -1;
    }
    if (watch_type == NULL) {
        watch_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &watch_spec, NULL);
    }
    if (switch_type == NULL) {
        switch_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &switch_spec, NULL);
    }
    if (watch_type == NULL || PyModule_AddType(module, watch_type) < 0 ||
        switch_type == NULL || PyModule_AddType(module, switch_type) < 0) {
        return -1;
    }
    return add_layout(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tach.agent._probe",
    .m_doc = PyDoc_STR("Probes in C. tach/agent/probes.py says when they are used."),
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__probe(void)
{
#ifdef Py_GIL_DISABLED
    PyErr_SetString(PyExc_ImportError, "tach.agent._probe relies on the GIL");
    return NULL;
#else
    return PyModuleDef_Init(&module_definition);
#endif
}
