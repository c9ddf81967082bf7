"""What exists only for programs of mosaic 1.2."""
