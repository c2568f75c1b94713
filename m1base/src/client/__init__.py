"""The client of a cluster with the operator: `captionless k8s submit|status|logs|cancel`.

    alignment_view   an Alignment and its pods, as these commands use them
    watch_feed       several watches in one loop
    submit, status, logs, cancel

Only the API server is called (`kube.api`), with the permissions of the person: nothing here needs the operator's, and
nothing reads the storage.
"""
