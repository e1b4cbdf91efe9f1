"""What travels between the services and what lies on disk: topics, messages, their JSON, files, hints and errors.

Needs msgspec only; reads no clock, and no file but the texts of its own hints. ``docs/contract.md`` is its printed
form.
"""
