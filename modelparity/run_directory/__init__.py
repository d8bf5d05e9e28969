"""`modelparity convert --run-dir`: converts and evaluates a training's result."""
