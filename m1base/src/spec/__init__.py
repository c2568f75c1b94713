"""The description of a run, section by section; how it is read (`load`); and its stages (`plan`).

`alignment.AlignmentSpec` is the YAML file of `captionless run`, the `spec` of the `Alignment` custom resource, the
values schema of the chart and the reference page of the docs. It must become a structural Kubernetes schema, hence no
unions and no free-form maps beside fields: a choice is an enumeration plus the fields that belong to it.

In YAML the names are camelCase, as in Kubernetes; snake_case is accepted too.
"""
