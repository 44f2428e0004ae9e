"""The only rooms that know Ray: a fit on Ray, a study on Ray Tune with Optuna, the driver.

Owns how planned runs are carried out on a cluster and how their outcomes reach the store. It knows
nothing of tables and figures. Importing the package imports no Ray; its modules do.
"""
