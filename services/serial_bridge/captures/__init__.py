"""Recorded bytes of headsets: write, read, replay and print them."""
