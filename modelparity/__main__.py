"""`python -m modelparity`."""

from modelparity.cli import main

main()
