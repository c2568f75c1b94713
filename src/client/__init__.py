"""What a person's machine does with a cluster: `captionless k8s submit|status|logs|cancel`.

    access    kubeconfig, context and namespace; the API's errors as one line each
    cluster   the calls: get, list, create, patch, delete, watch, logs
    feed      several watches in one loop
    run       an Alignment and its pods as these commands look at them
    submit, status, logs, cancel

Only the API server is asked, with the permissions of the person: nothing here needs the operator's, and
nothing reads the storage.
"""
