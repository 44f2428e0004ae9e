"""Carrying out studies: what a trial tries, whether it goes on, what was best, and Ray Tune.

Owns everything between a planned study and its record. Trials' fits are carried out by `fits`.
"""
