"""Named tuples made at the price of tuples, for the compiled parts."""

cdef extern from *:
    """
    static PyObject *heaptop_named(PyObject *kind, PyObject *values)
    {
        Py_ssize_t count = PyTuple_GET_SIZE(values);
        PyObject *made = ((PyTypeObject *)kind)->tp_alloc((PyTypeObject *)kind, count);
        if (made == NULL)
            return NULL;
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *value = PyTuple_GET_ITEM(values, i);
            Py_INCREF(value);
            PyTuple_SET_ITEM(made, i, value);
        }
        return made;
    }
    """
    object named "heaptop_named"(object kind, tuple values)
    # A `kind` of these values, as its `_make` makes it.
