"""The status of a sweep, its cost and its remaining work: a plan joined with a store.

Owns what `w2s status`, `w2s cost`, budgets and heartbeats read and write. It imports no Ray and
trains nothing.
"""
