"""Ultrasound computed tomography of a 2-D breast phantom by full-waveform inversion.

Modules, from the bottom up:

- `grid`: the finite-difference grid, its stability limit and its dispersion;
- `acquisition`: the ring of transducers and the pulse that they emit;
- `wave_equation`: forward modelling and the exact gradient of the misfit, in NumPy;
- `medium`: the speed of sound as a parameter;
- `solver`: the equation as a tessera, so that every worker holds one;
- `phantom`: the true speed of sound, built in or read from a file;
- `inversion`: preconditioned L-BFGS with bounds;
- `misfit`: the data, the misfit and its gradient, the shots spread over the workers;
- `tomography`: the experiment, band after band;
- `plotting`: the figure at the end;
- `__main__`: the command line.
"""
