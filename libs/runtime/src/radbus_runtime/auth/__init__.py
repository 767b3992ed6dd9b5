"""Who asks, and what they may: tokens, users, and the bearer tokens of an identity provider."""
