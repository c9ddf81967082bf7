"""A small acoustic inversion in the style of programs for mosaic 1.2, and whether it runs as it would have to."""
