"""Models: which there are, how they get into memory safely, and what runs them.

Only this package (with the painter's own recipe) knows diffusers and transformers. `catalogue` is light; `loading` and
`solvers` import those libraries, so they are imported where they are needed and not before.
"""
