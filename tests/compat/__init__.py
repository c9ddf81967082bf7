"""Habits of programs that were written for mosaic 1.2: their names, their ways, and the faults not to keep."""
