"""Scheduling: which runs start next, and which request gets free workers.

Owns the rules as functions of values, for the driver, the worker pool and simulations alike. It
imports no Ray and starts nothing.
"""
