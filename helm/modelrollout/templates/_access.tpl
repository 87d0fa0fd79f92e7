{{/* How the operator speaks to Prometheus and model servers: variables, mounts and volumes of its pods. */}}

{{- define "modelrollout.access.env" -}}
{{- with .Values.modelServers.tls }}
{{- if .secretName }}
- {name: MODELROLLOUT_MODEL_SERVER_CA_FILE, value: /var/run/model-servers/ca.crt}
{{- if .clientCertificate }}
- {name: MODELROLLOUT_MODEL_SERVER_CERT_FILE, value: /var/run/model-servers/tls.crt}
- {name: MODELROLLOUT_MODEL_SERVER_KEY_FILE, value: /var/run/model-servers/tls.key}
{{- end }}
{{- with .serverName }}
- {name: MODELROLLOUT_MODEL_SERVER_NAME, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.prometheus }}
{{- if and (or .tls.secretName .auth.secretName) (not .addresses) }}
{{- fail "prometheus.tls and prometheus.auth need prometheus.addresses: they are for these alone" }}
{{- end }}
{{- if .addresses }}
- {name: MODELROLLOUT_PROMETHEUS_ADDRESSES, value: {{ join "," .addresses | quote }}}
{{- end }}
{{- if .tls.secretName }}
- {name: MODELROLLOUT_PROMETHEUS_CA_FILE, value: /var/run/prometheus/tls/ca.crt}
{{- if .tls.clientCertificate }}
- {name: MODELROLLOUT_PROMETHEUS_CERT_FILE, value: /var/run/prometheus/tls/tls.crt}
- {name: MODELROLLOUT_PROMETHEUS_KEY_FILE, value: /var/run/prometheus/tls/tls.key}
{{- end }}
{{- end }}
{{- if .auth.secretName }}
{{- if eq .auth.kind "token" }}
- {name: MODELROLLOUT_PROMETHEUS_TOKEN_FILE, value: /var/run/prometheus/auth/token}
{{- else }}
- {name: MODELROLLOUT_PROMETHEUS_USER_FILE, value: /var/run/prometheus/auth/username}
- {name: MODELROLLOUT_PROMETHEUS_PASSWORD_FILE, value: /var/run/prometheus/auth/password}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "modelrollout.access.mounts" -}}
{{- if .Values.modelServers.tls.secretName }}
- {name: model-servers-tls, mountPath: /var/run/model-servers, readOnly: true}
{{- end }}
{{- if .Values.prometheus.tls.secretName }}
- {name: prometheus-tls, mountPath: /var/run/prometheus/tls, readOnly: true}
{{- end }}
{{- if .Values.prometheus.auth.secretName }}
- {name: prometheus-auth, mountPath: /var/run/prometheus/auth, readOnly: true}
{{- end }}
{{- end }}

{{- define "modelrollout.access.volumes" -}}
{{- with .Values.modelServers.tls.secretName }}
- name: model-servers-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.prometheus.tls.secretName }}
- name: prometheus-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.prometheus.auth.secretName }}
- name: prometheus-auth
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}
