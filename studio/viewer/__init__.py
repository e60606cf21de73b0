"""How a recorded run looks: its steps as pictures, its wavelet bands, its curves, its sentences. Knows no web."""
