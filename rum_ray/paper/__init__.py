"""The paper's items as experiments: two files, and a catalogue of changes."""
