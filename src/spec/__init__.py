"""ONE DESCRIPTION and ONE PLAN: what a run is, section by section; how it is read; the stages that it asks for.

`alignment.AlignmentSpec` is the YAML file of `captionless run`, the `spec` of the `Alignment` custom resource, the
values schema of the chart and the reference page of the docs. That it must become a structural Kubernetes schema
shapes it: no unions, no free-form maps beside fields; a choice is an enumeration plus the fields that belong to it.

In YAML the names are camelCase, as Kubernetes writes them; snake_case is taken too.
"""
