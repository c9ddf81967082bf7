"""An acoustic inversion package in the style of programs for mosaic 1.2.

Sources and receivers surround a slab of material; each shot is one source, heard by every receiver. The speed of sound
is found by comparing what is heard with what a finite-difference solver models.

| module | what it holds |
| --- | --- |
| `grid` | the grid in space and time |
| `variables` | `Variable`, `Field`, `Traces`: what is differentiated, and how gradients come back |
| `operators` | `Operator` and the graph that its calls build across processes |
| `solver` | `Solver`: the wave equation and its adjoint |
| `losses` | `Loss`, `Smoothness`: what is minimised |
| `problem` | `Shot`, `Acquisitions`, `Problem`, and their files |
| `optimisers` | `Optimiser`, `GradientDescent`, the processing of gradients, the loop of blocks and iterations |
| `inversion` | the loop over shots, and `main` |
"""
