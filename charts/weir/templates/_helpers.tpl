{{- /* Names of the release's objects begin with the release's name, and contain `weir`. */ -}}
{{- define "weir.fullname" -}}
{{- if contains "weir" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-weir" (.Release.Name | trunc 35 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "weir.operator" -}}
{{ include "weir.fullname" . }}-operator
{{- end }}

{{- define "weir.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "weir.operator" .) }}{{ else }}{{ required "serviceAccount.name must say which service account to use when serviceAccount.create is false" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- /* An image, by its digest where one is given. */ -}}
{{- define "weir.image" -}}
{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .version }}{{ end }}
{{- end }}

{{- define "weir.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: weir
{{- end }}

{{- define "weir.operatorSelector" -}}
app.kubernetes.io/name: weir-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.operatorLabels" -}}
{{ include "weir.operatorSelector" . }}
{{ include "weir.labels" . }}
{{- end }}

{{- define "weir.kafkaSelector" -}}
app.kubernetes.io/name: kafka
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.kafkaLabels" -}}
{{ include "weir.kafkaSelector" . }}
{{ include "weir.labels" . }}
{{- end }}

{{- define "weir.kafkaBrokers" -}}
{{- if eq .Values.kafka.mode "three" }}3{{ else }}1{{ end }}
{{- end }}
