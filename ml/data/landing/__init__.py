"""Landing: dump files as Parquet, with a reason for each line that is not a row.

Start reading at :mod:`ml.data.landing.land`.
"""
