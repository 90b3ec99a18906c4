"""The metrics of several processes as one, without files: children report to their parent, which adds up the reports.

    values.py     metrics as values: a snapshot of this process, the sum of several, their text
    messages.py   what parent and child send each other
    collector.py  keeps the last report of each child, and answers with the sum
    reporter.py   reports when the parent asks; the text of /metrics

Parent and child hold the two ends of a socket pair. The parent asks every child for a report once a second, so that
little is lost when a child is killed. A child whose /metrics is read asks for the sum; the parent then asks all
children for fresh reports and waits at most half a second twice. A child that does not answer counts with its last
report. A child that ended keeps its counters in the sum, and its gauges are dropped. A child whose parent does not
answer shows its own metrics. So a metric that fails never stops serving.
"""
