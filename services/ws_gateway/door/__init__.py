"""The door of a lesson: who may come in, and those who wait for a teacher's permission."""
