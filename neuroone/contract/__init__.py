"""What travels between the services: topics, messages, their JSON and their errors.

Standard library only; does no I/O and reads no clock. ``docs/contract.md`` is its printed form.
"""
