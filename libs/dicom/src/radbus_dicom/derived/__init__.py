"""The one place that makes objects from a machine's output: SEG, key slices, report, archives."""
