"""Tables and figures of the papers as data that can be read (`tables/*.toml`), and what makes them.

tables.py    a table: what it consists of, what is published, and where paper and protocol differ
scales.py    at which size it is made: full, small, tiny
making.py    the comparisons of a table, and its numbers beside the published ones
page.py      a table in words, and all that a folder holds on one page
"""
