"""How speed is measured, and the table of a minute that ``townlet bench`` prints."""
