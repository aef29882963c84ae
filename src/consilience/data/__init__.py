"""From a file to what a model sees: table, schema, splits, view."""
