"""A file of any encoding, separator and decimal mark becomes batches; batches become a file.

It may import `common`. Start at `reading`; outputs are whole or not there by `outputs`.
"""
