/* The compiled probe: what probe.py does for each call, at a tenth of its cost.
 *
 * _series.h    Series: where calls are counted, and what of their time is counted apart
 * _accounts.h  Account, Frame, Stack: whose time it is, while one measured function calls another
 * _stand.h     Stand: what stands in for a generator or coroutine, whose time to the end it counts
 * _hubs.h      Watch and Switch: what a greenthread, in which a call runs, is switched out for
 * here         Probe: a transparent proxy of a function, whose calls it times and counts
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
#include "_accounts.h"
#include "_aside.h"
#include "_clock.h"
#include "_hubs.h"
#include "_news.h"
#include "_series.h"
#include "_stand.h"
#include "_switches.h"
#include "_words.h"

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
