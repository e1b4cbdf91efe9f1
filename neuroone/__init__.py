"""NeuroOne: EEG headsets of classrooms and laboratories on a message broker."""

__version__ = "0.1.0"
