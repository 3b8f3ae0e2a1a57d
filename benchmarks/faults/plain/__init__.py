"""The yardstick under faults: the same search by Ray Tune and Optuna alone.

script.py   the script of a user          inside.py   the same with a fault within its own processes
classes.py  the faults that it may meet   subject.py  what must hold of the folder that it leaves
"""
