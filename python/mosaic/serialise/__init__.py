"""Turns values into bytes and back.

`codec` pickles and unpickles any value. `by_value` tells which functions and classes are pickled by reference,
`classes` remembers the pickles of classes that are sent by value. `reducers`, `per_process` and `pickle_class` complete
cloudpickle. `diagnostics` says which part of a value cannot be pickled. `preload` and `import_locks` import the
packages that a pickle needs before it is decoded.
"""
