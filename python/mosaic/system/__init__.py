"""What the operating system tells of this process: cores (`cpu`), memory (`memory`) and its main thread (`threads`)."""
