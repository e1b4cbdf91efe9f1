"""Sends every stream on the broker into the Lab Streaming Layer, and brings other programs' markers in."""
