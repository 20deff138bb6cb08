"""Named tuples made at the price of tuples, for the compiled parts."""

cdef extern from *:
    """
    static PyObject *heaptop_named(PyObject *kind, PyObject *values)
    {
        PyObject *arguments = PyTuple_Pack(1, values);
        if (arguments == NULL)
            return NULL;
        PyObject *made = PyTuple_Type.tp_new((PyTypeObject *)kind, arguments, NULL);
        Py_DECREF(arguments);
        return made;
    }
    """
    object named "heaptop_named"(object kind, tuple values)
    # A `kind` of these values, as its `_make` makes it.
