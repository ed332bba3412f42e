"""When it is time, what a feed says, and what of it goes into a run: the libraries behind triggers."""
