"""A stand-in Gemini and a stand-in Slack, in a garden of their own.

They speak the documented wire to the real client libraries and share no code with the
service, so that a mistake in one cannot hide the same mistake in the other.
"""
