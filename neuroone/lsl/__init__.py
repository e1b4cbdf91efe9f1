"""Readings, raw samples and markers as streams of the Lab Streaming Layer (docs/decisions/0038)."""
