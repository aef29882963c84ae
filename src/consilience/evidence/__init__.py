"""Pages and figures that show what was received and what was learned, made of the same parts that train."""
