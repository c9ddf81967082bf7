"""Code that exists only for programs of mosaic 1.2.

`facades` has modules of mosaic 1.2 whose code lies elsewhere. `explicit` makes proxies and tasks by hand. The other
modules have the names that such programs import from `mosaic.utils`, `mosaic.comms.compression` (with `codecs`),
`mosaic.types` (`kinds`) and `mosaic.cli.clusters` (`clusters`).
"""
