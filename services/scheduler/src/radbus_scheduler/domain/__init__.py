"""What a job is and what may become of it: decides, with no I/O."""
