"""Output in notebooks: under the cells that caused it, and tables of objects in HTML.

`stdio` marks what a worker prints with the cell that its call comes from, `display` shows it at the head, `cells`
numbers the cells, and `wakeup` has an interrupt of the kernel end a wait. `summary` makes the tables.
"""
