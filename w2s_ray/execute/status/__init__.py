"""How far a sweep is, seen from any process that reaches its store.

Owns the joining of what the plan wants, what the store has and what running drivers say, into one
value. It starts nothing and changes nothing, and imports neither Ray nor torch.
"""
