/* News: whether the plan of the run has been changed, as news.py says. */

#ifndef TACH_NEWS_H
#define TACH_NEWS_H

#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include "_aside.h"
#include "_words.h"

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

#endif
