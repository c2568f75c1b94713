"""What is to be done about a run, one rule a module; each is a pure function of a `Run`.

budget            how often a stage may be disrupted without getting further
ending_namespace  Jobs that hold up the deletion of their namespace
leftovers         Jobs that outlived their stage's verdict
next_stages       stages whose inputs are ready
renewal           a Job whose back-off has become too long
retry             failed stages that somebody asked to begin anew
suspension        a run on hold
ttl               a finished run that has had its time
"""
