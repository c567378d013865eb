/* The layout of a segment, as tach/layout.py says; each module in C tells Python what it knows of it. */

#ifndef TACH_LAYOUT_H
#define TACH_LAYOUT_H

#include <Python.h>

enum {
    CELL_BYTES = 1024,
    E_TAKEN = 30,
    E_SUM = 32,
    E_MIN = 33,
    E_MAX = 34,
    E_ERRORS = 35,
    E_CANCELLED = 36,
    E_IGNORED = 37,
    E_COUNT = 38,
    E_ACTIVE = 39,
    E_PEAK = 40,
    E_CROWD = 41,
    E_CROWD_STARTS = 42,
    E_SLOTS = 43,
    E_LAST = 63,
    E_BLOCKS = 64,
    SLOTS = 20,
    CROWD_UNIT = 1000000,
    NUMBER_UNITS = 1000000,
    BLOCKS = 56,
    LOWEST_BLOCK = 7,
};

#define LANES 128 /* the buckets of a block */

/* Add LAYOUT to the module, a dict of these names; -1 with an exception set if that fails. */
static int
add_layout(PyObject *module)
{
    static const struct {
        const char *name;
        long value;
    } names[] = {
#define NAME(name) {#name, name}
        NAME(CELL_BYTES), NAME(E_TAKEN),    NAME(E_SUM),        NAME(E_MIN),
        NAME(E_MAX),      NAME(E_ERRORS),   NAME(E_CANCELLED),  NAME(E_IGNORED),
        NAME(E_COUNT),    NAME(E_ACTIVE),   NAME(E_PEAK),       NAME(E_CROWD),
        NAME(E_SLOTS),    NAME(E_LAST),     NAME(E_BLOCKS),     NAME(E_CROWD_STARTS),
        NAME(SLOTS),      NAME(CROWD_UNIT), NAME(NUMBER_UNITS), NAME(BLOCKS),
        NAME(LOWEST_BLOCK),
#undef NAME
    };
    PyObject *layout = PyDict_New();
    if (layout == NULL) {
        return -1;
    }
    int status = 0;
    for (size_t place = 0; status == 0 && place < sizeof names / sizeof *names; place++) {
        PyObject *value = PyLong_FromLong(names[place].value);
        status = value == NULL ? -1 : PyDict_SetItemString(layout, names[place].name, value);
        Py_XDECREF(value);
    }
    if (status == 0) {
        status = PyModule_AddObjectRef(module, "LAYOUT", layout);
    }
    Py_DECREF(layout);
    return status;
}

#endif
