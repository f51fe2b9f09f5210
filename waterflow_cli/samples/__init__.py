"""What a row of water measurements is: schemas, source layouts, cells, made-up samples.

It may import `tables` and below. Start at `opening`.
"""
