/* Accounts: whose time it is, while one measured function calls another.
 *
 * An Account is a measured function, a Frame a call of it, a Stack the calls within each other of one
 * thread or greenthread.
 */

#ifndef TACH_ACCOUNTS_H
#define TACH_ACCOUNTS_H

#include <Python.h>
#include <structmember.h>

#include <stdbool.h>
#include <stdint.h>

#include "_clock.h"
#include "_words.h"

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
        PyObject *modules = PySys_GetObject("modules"); /* which may be gone at the end */
        PyObject *module = NULL;
        if (modules != NULL && PyDict_Check(modules)) {
            module = PyDict_GetItemWithError(modules, greenlet_name);
        }
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

#endif
