"""The only rooms that know Ray: fits and studies on hosts of a cluster, and the driver.

Owns how planned runs are carried out and how their outcomes reach the store. `fits` carries out
fits, `studies` studies by means of fits, and the driver here both, in the order of the plan. It
knows nothing of tables and figures. Importing the package imports no Ray; its modules do.
"""
