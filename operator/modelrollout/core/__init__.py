"""The rule book: frozen values in, frozen values out. No I/O, no clock, no logging (docs/design.md, "Layers")."""
