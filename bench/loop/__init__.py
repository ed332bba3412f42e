"""Two games, ours beside LangGraph and DBOS: `python -m bench.loop`.

loop   start → step → wait for an event → step → wait for a person → step → done, and nothing else
job    the whole of it: question posted, approved tool run, its result sent, message redrawn

Every transition is on disk before the next one begins. The peers' steps are trivial functions; the event
and the person's answer are handed in as soon as the run waits for them. Each engine runs in a process of its
own over a fresh database. `games` says what the steps are on each engine.
"""
