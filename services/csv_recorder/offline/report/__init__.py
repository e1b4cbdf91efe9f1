"""Compute and print reports over recordings."""
