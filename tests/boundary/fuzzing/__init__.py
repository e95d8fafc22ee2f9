"""schemathesis against the live server: every phase, every check, by the description it gives of itself."""
