"""What travels between the services and what lies on disk: topics, messages, their JSON, files, hints and errors.

Needs msgspec only; does no I/O and reads no clock. ``docs/contract.md`` is its printed form.
"""
