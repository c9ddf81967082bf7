"""What programs and `mrun` share: the file by which programs join its network, and settings that both read.

`key` reads and writes the file, `join` finds the network and its settings, `recording` decides whether and where a run
is profiled.
"""
