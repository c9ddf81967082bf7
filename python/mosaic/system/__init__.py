"""Facts of the operating system about this process: `cpu`, `memory` and the main thread (`threads`)."""
