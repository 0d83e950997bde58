"""How fast the line is beside what people write today and beside the bare machine; nobody imports this room."""
