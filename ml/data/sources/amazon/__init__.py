"""The Amazon review releases of 2014, 2018 and 2023."""
