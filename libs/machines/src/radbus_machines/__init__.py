"""What a model author sees: manifest, input and output types, Triton client."""
