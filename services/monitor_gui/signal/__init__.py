"""What is computed from raw samples: filters, blinks, spectra. Arrays in, arrays out; no Qt, no clock.

SciPy takes a second to load: `scipy_loading` does it beside the window. Functions that need it import it when called.
"""
