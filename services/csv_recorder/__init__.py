"""Writes every reading to CSV files, none lost and none doubled."""
