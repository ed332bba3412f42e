"""A stand-in Gemini: interactions, webhooks and their signatures, scripted turn by turn.

`app.build` makes the ASGI app, `app.state.emulator` is the same thing for tests in the same process.
"""
