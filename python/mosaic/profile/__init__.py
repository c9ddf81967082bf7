"""Records what a run does: `profiler`, and the marks by which functions are traced or left out.

A profile is recorded with ``mosaic.run(main, profile=True)``, or with ``MOSAIC_PROFILE`` in the environment, and shown
by the command ``mprof``.
"""

from __future__ import annotations

from mosaic.profile.switch import Profiler, global_profiler, profiler
from mosaic.profile.tracing import no_profiler, skip_profile, use_trace

__all__ = [
    "Profiler",
    "global_profiler",
    "no_profiler",
    "profiler",
    "skip_profile",
    "use_trace",
]
