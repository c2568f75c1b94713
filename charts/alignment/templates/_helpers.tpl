{{/* The run's name, which begins those of its Jobs; a pod's host name leaves it 40 characters. */}}
{{- define "alignment.name" -}}
{{- $name := .Values.nameOverride | default .Release.Name }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$" $name) }}
{{- fail (printf "%s cannot be a run's name: expected at most 40 of a-z, 0-9 and -, the first a letter; set nameOverride" $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{- define "alignment.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: captionless
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: run
{{- end }}

{{/* The labels that the controller gives the run's pods. */}}
{{- define "alignment.workers" -}}
app.kubernetes.io/name: captionless
app.kubernetes.io/component: worker
captionless.dev/alignment: {{ include "alignment.name" . }}
{{- end }}

{{- define "alignment.serviceAccount" -}}
{{- if (.Values.pods).serviceAccount }}
{{- .Values.pods.serviceAccount }}
{{- else if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "alignment.name" .) }}
{{- else }}
{{- .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Name of the Secret with the pods' credentials, or nothing. */}}
{{- define "alignment.credentials" -}}
{{- if .Values.credentials }}
{{- if (.Values.pods).credentialsSecret }}
{{- fail "credentials and pods.credentialsSecret are both given; expected one of them" }}
{{- end }}
{{- printf "%s-credentials" (include "alignment.name" .) }}
{{- else }}
{{- (.Values.pods).credentialsSecret | default "" }}
{{- end }}
{{- end }}

{{/* The spec as YAML: what is given, over the demo where no data is given, with the names of what this chart makes. */}}
{{- define "alignment.spec" -}}
{{- $chart := list "nameOverride" "serviceAccount" "credentials" "networkPolicy" "test" "global" }}
{{- $given := deepCopy .Values }}
{{- range $chart }}
{{- $_ := unset $given . }}
{{- end }}
{{- $spec := $given }}
{{- if not $given.data }}
{{- $demo := .Files.Get "files/demo.yaml" | fromYaml }}
{{- $spec = mergeOverwrite $demo $given }}
{{- end }}
{{- $pods := $spec.pods | default dict }}
{{- with include "alignment.serviceAccount" . }}
{{- $_ := set $pods "serviceAccount" . }}
{{- end }}
{{- with include "alignment.credentials" . }}
{{- $_ := set $pods "credentialsSecret" . }}
{{- end }}
{{- if $pods }}
{{- $_ := set $spec "pods" $pods }}
{{- end }}
{{- toYaml $spec }}
{{- end }}
