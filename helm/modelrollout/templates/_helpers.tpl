{{- define "modelrollout.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "modelrollout.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "modelrollout.labels" -}}
{{ include "modelrollout.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "modelrollout.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "modelrollout.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "modelrollout.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "modelrollout.subjects" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "modelrollout.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* Who acts holds this Lease; each shard has one. */ -}}
{{- define "modelrollout.lease" -}}
{{- include "modelrollout.fullname" . -}}
{{- if .Values.shard.namespaceSelector -}}
{{- if .Values.watchNamespaces -}}
{{- fail "watchNamespaces and shard.namespaceSelector are two ways to say the same" -}}
{{- end -}}
-{{ required "shard.name is needed with shard.namespaceSelector: the Lease is called after it" .Values.shard.name }}
{{- end -}}
{{- end -}}

{{- /* What the operator does in a namespace that it looks after; docs/security.md says why. */ -}}
{{- define "modelrollout.rules" -}}
rules:
- apiGroups: [modelrollout.io]
  resources: [modelrollouts]
  verbs: [get, list, watch]
- apiGroups: [modelrollout.io]
  resources: [modelrollouts/status]
  verbs: [patch]
- apiGroups: [modelrollout.io]
  resources: [modelrollouts/finalizers] # owner references, where the API server checks them
  verbs: [update]
- apiGroups: [apps]
  resources: [controllerrevisions, deployments]
  verbs: [create, delete, get, list, patch, watch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, delete, get, list, patch, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [create, get, list, patch, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [delete, get, list, patch, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [create, get, list, patch, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
