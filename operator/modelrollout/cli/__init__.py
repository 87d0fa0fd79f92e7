"""The command line: `kubectl modelrollout`, which is `python -m modelrollout` under another name.

From the outside in: `app` (which commands there are), `commands` (one module per command: reads, shows, ends with an
exit code), `cluster` (how they reach the API server), `views` (pure: objects in, what is shown out).
"""
