"""Parameters: local objects that are tied to a root in the warehouse.

`mixin` is the base class of parameters, `derive` makes their classes, `create` makes parameters and their roots. `link`
is the link between a parameter and its root, `root` serves the calls that arrive at a root. `reference` refers to a
root, `pickling` and `state` move parameters and their state between processes.
"""
