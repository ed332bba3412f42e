"""Slack: a row drawn as a message, a click read as a decision. It knows the domain and nothing above it."""
