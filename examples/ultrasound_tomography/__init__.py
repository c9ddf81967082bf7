"""Ultrasound computed tomography of a 2-D breast phantom by full-waveform inversion.

Modules, from the bottom up:

- `grid`: the finite-difference grid, its stability limit and its dispersion;
- `acquisition`: the ring of transducers and the pulse that they emit;
- `wave_equation`: forward modelling and the exact gradient of the misfit, in NumPy;
- `solver`: the same as a tessera, so that every worker holds one;
- `phantom`: the true speed of sound, built in or read from a file;
- `inversion`: preconditioned L-BFGS with bounds;
- `tomography`: the experiment: spreads the shots over the workers, band after band;
- `plotting`: the figure at the end;
- `__main__`: the command line.
"""
