"""What the daemon says of itself, and of each request that has come to its end.

snapshot    pure                    Typed; the service fills it.
look        pure                    The newest snapshot and its life, as whoever asks finds them; whether all is well.
tally       pure                    What is counted; this one counts nothing.
late        edge: numbers           A tally that keeps what it hears until one counts.
gauges      pure                    The numbers of a look, for Prometheus.
metrics     edge: numbers           The tally that counts, and all numbers as Prometheus reads them.
heartbeat   edge: report            Written every few seconds, by threads of its own.
textfile    edge: report            The numbers in a file, for machines where nobody may listen.
messenger   edge: processes         A command for each request that has come to its end.
"""
