"""The commands that keep a server going: backup, restore, update and rollback."""
