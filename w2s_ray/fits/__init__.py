"""Training one fit in this process: its data, its labels, its metrics, its outcome and its retries.

Owns everything from a planned fit and the store's rows to the store's record. It imports no Ray:
`execute` calls it from worker processes.
"""
