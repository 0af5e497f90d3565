"""GranD's rules as pure functions, for the stages whose names begin with `grand_v1`.

The intended rules; `defects` name those of GranD's published faults that are to be repeated. What
each number stands for, and which are no switches here and why: docs/grand_v1.md.
"""
