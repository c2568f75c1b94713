"""What is to be done about a run, one policy per module; each is a pure function of a `RunStatus`.

backoff_reset          replace a Job whose back-off has become too long
garbage_collection     delete Jobs of failed stages and of earlier attempts
next_stages            start stages whose inputs are ready
suspension             suspend a run
terminating_namespace  delete Jobs that block the deletion of their namespace
ttl                    delete a finished run after its time to live
"""
