"""Execution on Ray: the cluster, its workers, fits and studies on them, and the driver of a sweep.

Owns how planned runs are executed and how their results reach the store. It makes no tables and
figures. Importing the package imports no Ray; its modules do.
"""
