"""The warehouse: stored values, and live values that functions change in place.

`reference` refers to a stored value, `live_reference` to a live one. `registry` is the table of live values, in the
warehouse's process, `accounting` the memory that they take. `proxy` is what callers hold of a warehouse.
"""
