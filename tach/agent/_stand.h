/* Stand: what stands in for a generator or coroutine, and sees when it begins and ends. */

#ifndef TACH_STAND_H
#define TACH_STAND_H

#include <Python.h>
#include <structmember.h>

#include <stdbool.h>
#include <stdint.h>

#include "_aside.h"
#include "_clock.h"
#include "_series.h"

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

#endif
