"""One file per predictor: anything that turns a view into scores."""
