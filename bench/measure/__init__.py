"""What ``bench/haystress.py`` is made of: photos, load, contenders, parts and the report.

Nothing here is imported by Hayloft itself, and nothing here looks inside a running server: the parts
that measure HTTP see it as any client does. Only the parts that fill or open a store use its classes.
"""
