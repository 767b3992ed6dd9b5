"""Turns a job into tasks in order and gives them to workers."""
