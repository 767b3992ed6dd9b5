"""The router's ways to the world: use cases in files, series and routings in MongoDB."""
