"""`modelparity package`: a release folder of proven files and documents."""
