"""The search: prepare a request (`request`), make its run folder, search in it, resume (`run`).

Nothing is imported here: `pilots` begins its work while the rest is being loaded.
"""
