"""Models: what turns a history into a state and a state into scores. Nothing here knows how it is trained."""
