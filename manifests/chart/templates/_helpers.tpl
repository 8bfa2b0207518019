{{- define "brain-tumor.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name -}}
{{- end -}}
