"""How many of everything a load needs: reckoned from what a study was measured to cost, and tried in a simulation."""
