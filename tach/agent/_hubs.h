/* Hubs: a Watch sees what a greenthread, in which a call runs, has been switched out for; a Switch
 * goes in the place of a hub's `switch`, and tells it.
 */

#ifndef TACH_HUBS_H
#define TACH_HUBS_H

#include <Python.h>
#include <structmember.h>

#include <stdbool.h>
#include <stdint.h>

#include "_accounts.h"
#include "_clock.h"
#include "_switches.h"

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

#endif
