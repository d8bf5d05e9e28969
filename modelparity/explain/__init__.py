"""`modelparity explain`: the diverging layer, its reproduction, and the report in words."""
