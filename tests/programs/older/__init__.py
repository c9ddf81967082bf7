"""Whole programs in the manner of mosaic 1.2, each in one file; they exit with 1 where plain NumPy finds otherwise."""
