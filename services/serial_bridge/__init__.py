"""Reads EEG headsets on serial ports and publishes what they say."""
