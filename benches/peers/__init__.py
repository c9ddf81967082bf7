"""mosaic beside bare sockets and another framework, in one run and in turn.

`python -m benches.peers` goes through the rows one by one, and in each row through the contenders:
what is compared was measured within the same minute on the same machine.
"""
