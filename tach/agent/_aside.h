/* The exception that is on its way, put aside while Python code runs. */

#ifndef TACH_ASIDE_H
#define TACH_ASIDE_H

#include <Python.h>

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

/* Whether the interpreter is being taken apart, and with it our own modules. */
static bool
is_ending(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* Forget what has been raised if it is for want of frames or of memory, see exhausted.py, or of
 * modules.
 */
static void
forgive(void)
{
    if (PyErr_Occurred() &&
        (is_ending() || PyErr_ExceptionMatches(PyExc_RecursionError) ||
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

#endif
