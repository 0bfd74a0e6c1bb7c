"""From recommenders to numbers: rankings of the test cases, metrics over them, and the leaderboard."""
