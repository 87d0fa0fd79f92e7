{{/* How the operator speaks to Prometheus, model servers, Alertmanager and people: variables, mounts and volumes. */}}

{{- define "modelrollout.access.env" -}}
{{- with .Values.alerts }}
{{- if .secretName }}
- {name: MODELROLLOUT_ALERTS_ADDRESS, value: "0.0.0.0:{{ .port }}"}
- {name: MODELROLLOUT_ALERTS_TOKEN_FILE, value: /var/run/alerts/token}
{{- end }}
{{- end }}
{{- with .Values.notifications }}
{{- if .secretName }}
- {name: MODELROLLOUT_NOTIFY_URLS_FILE, value: /var/run/notifications/urls}
{{- with .topics }}
- {name: MODELROLLOUT_NOTIFY_ON, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
{{- end }}
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
{{- if .Values.alerts.secretName }}
- {name: alerts, mountPath: /var/run/alerts, readOnly: true}
{{- end }}
{{- if .Values.notifications.secretName }}
- {name: notifications, mountPath: /var/run/notifications, readOnly: true}
{{- end }}
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
{{- with .Values.alerts.secretName }}
- name: alerts
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.notifications.secretName }}
- name: notifications
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
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
