"""Our models in the hands of others' benchmarks: `mteb`, and the image part of MMEB-V2.

Nothing here is imported by the rest of the package, and nothing imports a benchmark before it is used.
"""
