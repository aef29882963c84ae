"""One file per modality: what its cells are, how they are read, damaged, taken apart and drawn, and its encoders."""
