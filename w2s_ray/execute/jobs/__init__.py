"""A sweep as a job on a cluster that is somewhere else, through Ray Jobs over HTTP.

Owns what a job is made of, its start, its log and its end. The driver itself runs over there and is
the same `w2s run` as everywhere; this side needs the address and the token, and may go away.
"""
