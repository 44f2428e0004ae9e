"""How far a sweep is, what it has cost and what is left: a plan joined with a store.

Owns what `w2s status`, `w2s cost`, budgets and heartbeats read and write. It imports no Ray and
trains nothing.
"""
