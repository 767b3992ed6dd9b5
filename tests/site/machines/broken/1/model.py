"""A model that fails each time."""


class TritonPythonModel:
    """Fails."""

    def execute(self, requests):
        """Fail."""
        raise RuntimeError("this model always fails")
